// Package tenantsynctest is an OpenStack in one process, as far as a reader of tenants sees it: Keystone,
// Nova and Cinder, as they answer and as they refuse.
package tenantsynctest

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"kubernetes-openstack/internal/tenancy"
)

// Object as the API shows it.
type Object = map[string]any

// The user that logs in, who is of the first domain.
const (
	Reader   = "7ead0000000000000000000000000000" // the ID
	Username = "tenant-sync"
	Password = "secret"
)

// Its endpoints are of this region and interface; others are in the catalogue, where nobody listens.
const (
	Region    = "here"
	Interface = "internal"
)

// OpenStack has a World, of which the Reader is a user.
type OpenStack struct {
	// AuthURL is Keystone's, and CA signed all certificates.
	AuthURL, CA string

	mu    sync.Mutex
	world tenancy.World
	// pageSize is how many there are on a page, if not all; listLimit how many there are at all.
	pageSize, listLimit int
	// answers are those of paths that have others than usual.
	answers map[string]http.HandlerFunc
	// notOnSystem says that the Reader may not read Keystone.
	notOnSystem bool
	logins      int
}

// Start starts one, whose Reader may read all.
func Start(t testing.TB, world tenancy.World) *OpenStack {
	t.Helper()
	require.NotEmpty(t, world.Domains)
	o := &OpenStack{world: world, answers: map[string]http.HandlerFunc{}}
	server := httptest.NewTLSServer(o)
	t.Cleanup(server.Close)
	o.AuthURL = server.URL + "/identity"
	o.CA = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	o.world.Users = append(slices.Clone(world.Users),
		tenancy.User{ID: Reader, Name: Username, DomainID: world.Domains[0].ID, Enabled: true})
	for _, d := range world.Domains {
		o.world.Assignments = append(o.world.Assignments, tenancy.Assignment{
			RoleID: world.Roles[0].ID, UserID: Reader, DomainID: d.ID, Inherited: true,
		})
	}
	return o
}

// Change changes the world.
func (o *OpenStack) Change(change func(w *tenancy.World)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	change(&o.world)
}

// Paginate has as many of a list on a page, as Keystone does since 2025.
func (o *OpenStack) Paginate(size int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.pageSize = size
}

// Limit has at most as many in a list, as Keystone did before.
func (o *OpenStack) Limit(limit int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.listLimit = limit
}

// SystemRole tells whether the Reader has one.
func (o *OpenStack) SystemRole(has bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.notOnSystem = !has
}

// Answer has the path, with its query, answer so.
func (o *OpenStack) Answer(path string, with http.HandlerFunc) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.answers[path] = with
}

// Refuse is an answer of Keystone's.
func Refuse(code int, message string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		reply(w, code, Object{"error": Object{"code": code, "title": http.StatusText(code), "message": message}})
	}
}

// Logins is how often the password was shown.
func (o *OpenStack) Logins() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.logins
}

func (o *OpenStack) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	defer o.mu.Unlock()
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	token, project := r.Header.Get("X-Auth-Token"), parts[len(parts)-1]
	answer := o.answers[r.URL.RequestURI()]
	switch {
	case answer != nil:
		answer(w, r)
	case r.URL.Path == "/identity/v3/auth/tokens" && r.Method == http.MethodPost:
		o.login(w, r)
	case parts[0] == "identity" && token == "system" && len(parts) > 2:
		o.identity(w, r, parts[2:])
	case token == "project-"+project && slices.Contains([]string{
		"/compute/v2.1/os-quota-sets/" + project, "/volume/v3/" + project + "/os-quota-sets/" + project,
	}, r.URL.Path):
		o.quota(w, parts[0], project)
	default:
		Refuse(http.StatusForbidden, "You are not authorized to perform the requested action.")(w, r)
	}
}

// login gives the tokens "unscoped", "system" and "project-ID".
func (o *OpenStack) login(w http.ResponseWriter, r *http.Request) {
	var request struct {
		Auth struct {
			Identity struct {
				Methods  []string
				Password struct {
					User struct {
						Name, Password string
						Domain         struct{ Name string }
					}
				}
				Token struct{ ID string }
			}
			Scope struct {
				System  struct{ All bool }
				Project struct{ ID string }
			}
		}
	}
	if err := json.NewDecoder(r.Body).Decode(&request); err != nil {
		Refuse(http.StatusBadRequest, err.Error())(w, r)
		return
	}
	with, scope := request.Auth.Identity, request.Auth.Scope
	user := with.Password.User
	switch {
	case slices.Equal(with.Methods, []string{"password"}):
		o.logins++
		if user.Name != Username || user.Password != Password || user.Domain.Name != o.world.Domains[0].Name {
			Refuse(http.StatusUnauthorized, "The request you have made requires authentication.")(w, r)
			return
		}
	case with.Token.ID == "system" && scope.Project.ID != "":
		Refuse(http.StatusForbidden,
			"Using a system-scoped token to create a project-scoped or domain-scoped token is not allowed.")(w, r)
		return
	case with.Token.ID != "unscoped":
		Refuse(http.StatusUnauthorized, "The request you have made requires authentication.")(w, r)
		return
	}
	if scope.System.All && o.notOnSystem {
		Refuse(http.StatusUnauthorized, "User "+Reader+" has no access to the system")(w, r)
		return
	}
	token := "unscoped"
	var catalog []Object
	if scope.System.All || scope.Project.ID != "" {
		catalog = o.catalog("https://"+r.Host, scope.Project.ID)
		token = "system"
	}
	if scope.Project.ID != "" {
		if !slices.ContainsFunc(o.world.Effective(),
			func(g tenancy.Grant) bool { return g.UserID == Reader && g.ProjectID == scope.Project.ID }) {
			Refuse(http.StatusUnauthorized, "User "+Reader+" has no access to project "+scope.Project.ID)(w, r)
			return
		}
		token = "project-" + scope.Project.ID
	}
	w.Header().Set("X-Subject-Token", token)
	reply(w, http.StatusCreated, Object{"token": Object{
		"methods": with.Methods, "user": Object{"id": Reader, "name": Username}, "catalog": catalog,
		"issued_at": "2026-01-01T00:00:00.000000Z", "expires_at": "2036-01-01T00:00:00.000000Z",
	}})
}

// catalog is a token's.
func (o *OpenStack) catalog(url, project string) []Object {
	service := func(kind, path string) Object {
		var endpoints []Object
		for _, e := range []struct{ region, kind, url string }{
			{"elsewhere", Interface, "https://127.0.0.1:1" + path}, {Region, "public", "https://127.0.0.1:1" + path},
			{Region, Interface, url + path},
		} {
			endpoints = append(endpoints, Object{"region": e.region, "region_id": e.region, "interface": e.kind, "url": e.url})
		}
		return Object{"type": kind, "name": kind, "endpoints": endpoints}
	}
	catalog := []Object{service("identity", "/identity")}
	if project != "" {
		catalog = append(catalog, service("compute", "/compute/v2.1"), service("volumev3", "/volume/v3/"+project))
	}
	return catalog
}

func (o *OpenStack) identity(w http.ResponseWriter, r *http.Request, path []string) {
	domain := r.URL.Query().Get("domain_id")
	of := func(id string) bool { return id == domain }
	switch {
	case path[0] == "projects" && len(path) == 2:
		if i := slices.IndexFunc(o.world.Projects, func(p tenancy.Project) bool { return p.ID == path[1] }); i >= 0 {
			reply(w, http.StatusOK, Object{"project": o.world.Projects[i]})
		} else {
			Refuse(http.StatusNotFound, "Could not find project: "+path[1]+".")(w, r)
		}
	case path[0] == "groups" && len(path) == 3:
		i := slices.IndexFunc(o.world.Groups, func(g tenancy.UserGroup) bool { return g.ID == path[1] })
		list(o, w, r, "users", o.world.Users,
			func(u tenancy.User) bool { return slices.Contains(o.world.Groups[i].Users, u.ID) })
	case path[0] == "domains":
		list(o, w, r, "domains", o.world.Domains, nil)
	case path[0] == "projects":
		list(o, w, r, "projects", o.world.Projects, nil)
	case path[0] == "users" && domain != "":
		list(o, w, r, "users", o.world.Users, func(u tenancy.User) bool { return of(u.DomainID) })
	case path[0] == "groups" && domain != "":
		list(o, w, r, "groups", o.world.Groups, func(g tenancy.UserGroup) bool { return of(g.DomainID) })
	case path[0] == "roles":
		list(o, w, r, "roles", o.world.Roles, func(role tenancy.Role) bool { return of(role.DomainID) })
	case path[0] == "role_inferences":
		var inferences []Object
		for _, i := range o.world.ImpliedRoles {
			inferences = append(inferences, Object{"prior_role": Object{"id": i.Prior}, "implies": []Object{{"id": i.Implied}}})
		}
		reply(w, http.StatusOK, Object{"role_inferences": inferences})
	case path[0] == "role_assignments":
		list(o, w, r, "role_assignments", o.assignments(), nil)
	default:
		Refuse(http.StatusNotFound, "Could not find this.")(w, r)
	}
}

// assignments are those of the world, and one on the system.
func (o *OpenStack) assignments() []Object {
	out := []Object{{"role": Object{"id": o.world.Roles[0].ID}, "user": Object{"id": Reader},
		"scope": Object{"system": Object{"all": true}}}}
	for _, a := range o.world.Assignments {
		shown, scope := Object{"role": Object{"id": a.RoleID}, "links": Object{}}, Object{}
		for in, id := range map[string]string{"user": a.UserID, "group": a.GroupID} {
			if id != "" {
				shown[in] = Object{"id": id}
			}
		}
		for in, id := range map[string]string{"project": a.ProjectID, "domain": a.DomainID} {
			if id != "" {
				scope[in] = Object{"id": id}
			}
		}
		if a.Inherited {
			scope["OS-INHERIT:inherited_to"] = "projects"
		}
		shown["scope"] = scope
		out = append(out, shown)
	}
	return out
}

func (o *OpenStack) quota(w http.ResponseWriter, service, project string) {
	i := slices.IndexFunc(o.world.Projects, func(p tenancy.Project) bool { return p.ID == project })
	q := o.world.Projects[i].Quota
	if service == "compute" {
		reply(w, http.StatusOK, Object{"quota_set": Object{"id": project, "cores": q.Cores, "ram": q.RAM, "instances": 10}})
	} else {
		reply(w, http.StatusOK, Object{"quota_set": Object{
			"id": project, "gigabytes": q.Gigabytes, "volumes": q.Volumes, "snapshots": q.Snapshots, "gigabytes_ssd": -1,
		}})
	}
}

// extra is what somebody who may change things has written on each: Keystone keeps it, and shows it.
var extra = Object{
	"ID": "somebody else's", "Enabled": false, "Domain_ID": "another", "description": "",
	"quota": "as much as there is", "users": []string{"0b0b0000000000000000000000000000"},
}

// withExtra is the item as Keystone shows it, what is extra last.
func withExtra(item any) json.RawMessage {
	text, _ := json.Marshal(item)
	own := Object{}
	_ = json.Unmarshal(text, &own)
	delete(own, "quota") // which Keystone does not know
	delete(own, "users")
	text, _ = json.Marshal(own)
	more, _ := json.Marshal(extra)
	return slices.Concat(text[:len(text)-1], []byte(","), more[1:])
}

// list answers with a list's items that are wanted, on pages and cut off as was said.
func list[T any](o *OpenStack, w http.ResponseWriter, r *http.Request, key string, items []T, wanted func(T) bool) {
	shown := []json.RawMessage{}
	for _, item := range items {
		if wanted != nil && !wanted(item) {
			continue
		}
		shown = append(shown, withExtra(item))
	}
	answer := Object{"links": Object{"self": "http://inside" + r.URL.RequestURI(), "next": nil, "previous": nil}}
	if o.listLimit > 0 && len(shown) > o.listLimit {
		shown = shown[:o.listLimit]
		answer["truncated"] = true
	}
	if marker, _ := strconv.Atoi(r.URL.Query().Get("marker")); o.pageSize > 0 {
		shown = shown[marker:]
		if len(shown) > o.pageSize {
			shown = shown[:o.pageSize]
			query := r.URL.Query()
			query.Set("marker", fmt.Sprint(marker+o.pageSize))
			answer["links"].(Object)["next"] = "http://inside" + r.URL.Path + "?" + query.Encode()
			answer["truncated"] = true
		}
	}
	answer[key] = shown
	reply(w, http.StatusOK, answer)
}

func reply(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(body)
}
