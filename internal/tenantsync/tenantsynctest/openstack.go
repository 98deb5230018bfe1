// Package tenantsynctest is a fake OpenStack in the test's process. It has the parts of Keystone, Nova and Cinder that
// the reader of tenants uses, including their errors.
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

// Object is a JSON object of the API.
type Object = map[string]any

// The reader is a user of the first domain.
const (
	Reader   = "7ead0000000000000000000000000000" // the ID
	Username = "tenant-sync"
	Password = "secret"
)

// The endpoints with this region and interface work. No server listens at the other endpoints in the catalog.
const (
	Region    = "here"
	Interface = "internal"
)

// OpenStack is a fake OpenStack with the content of a snapshot and the user Reader.
type OpenStack struct {
	// AuthURL is the address of Keystone. CA is the authority of all certificates.
	AuthURL, CA string

	mu       sync.Mutex
	snapshot tenancy.KeystoneSnapshot
	// pageSize is the number of items on a page. listLimit is the maximum number of items in a list. 0 means no limit.
	pageSize, listLimit int
	// responses are special responses, by path and query.
	responses map[string]http.HandlerFunc
	// noSystemRole is true if Reader has no role on the system.
	noSystemRole bool
	logins       int
}

// Start starts a fake OpenStack with the content of snapshot. Reader has all permissions that it needs.
func Start(t testing.TB, snapshot tenancy.KeystoneSnapshot) *OpenStack {
	t.Helper()
	require.NotEmpty(t, snapshot.Domains)
	o := &OpenStack{snapshot: snapshot, responses: map[string]http.HandlerFunc{}}
	server := httptest.NewTLSServer(o)
	t.Cleanup(server.Close)
	o.AuthURL = server.URL + "/identity"
	o.CA = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	o.snapshot.Users = append(slices.Clone(snapshot.Users),
		tenancy.User{ID: Reader, Name: Username, DomainID: snapshot.Domains[0].ID, Enabled: true})
	for _, d := range snapshot.Domains {
		o.snapshot.Assignments = append(o.snapshot.Assignments, tenancy.Assignment{
			RoleID: snapshot.Roles[0].ID, UserID: Reader, DomainID: d.ID, Inherited: true,
		})
	}
	return o
}

// Change changes the content.
func (o *OpenStack) Change(change func(k *tenancy.KeystoneSnapshot)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	change(&o.snapshot)
}

// Paginate sets the number of items on a page. Keystone uses pages since 2025.
func (o *OpenStack) Paginate(size int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.pageSize = size
}

// Limit sets the maximum number of items in a list. Keystone had such a limit before 2025.
func (o *OpenStack) Limit(limit int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.listLimit = limit
}

// RemoveSystemRole removes the role of Reader on the system.
func (o *OpenStack) RemoveSystemRole() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.noSystemRole = true
}

// SetResponse sets the response to requests with this path and query. nil restores the normal response.
func (o *OpenStack) SetResponse(path string, response http.HandlerFunc) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.responses[path] = response
}

// ErrorResponse returns a handler that responds with an error in Keystone's format.
func ErrorResponse(code int, message string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		reply(w, code, Object{"error": Object{"code": code, "title": http.StatusText(code), "message": message}})
	}
}

// Logins returns the number of logins with the password.
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
	response := o.responses[r.URL.RequestURI()]
	switch {
	case response != nil:
		response(w, r)
	case r.URL.Path == "/identity/v3/auth/tokens" && r.Method == http.MethodPost:
		o.login(w, r)
	case parts[0] == "identity" && token == "system" && len(parts) > 2:
		o.identity(w, r, parts[2:])
	case token == "project-"+project && slices.Contains([]string{
		"/compute/v2.1/os-quota-sets/" + project, "/volume/v3/" + project + "/os-quota-sets/" + project,
	}, r.URL.Path):
		o.quota(w, parts[0], project)
	default:
		ErrorResponse(http.StatusForbidden, "You are not authorized to perform the requested action.")(w, r)
	}
}

// login issues the tokens "unscoped", "system" and "project-ID".
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
		ErrorResponse(http.StatusBadRequest, err.Error())(w, r)
		return
	}
	with, scope := request.Auth.Identity, request.Auth.Scope
	user := with.Password.User
	switch {
	case slices.Equal(with.Methods, []string{"password"}):
		o.logins++
		if user.Name != Username || user.Password != Password || user.Domain.Name != o.snapshot.Domains[0].Name {
			ErrorResponse(http.StatusUnauthorized, "The request you have made requires authentication.")(w, r)
			return
		}
	case with.Token.ID == "system" && scope.Project.ID != "":
		ErrorResponse(http.StatusForbidden,
			"Using a system-scoped token to create a project-scoped or domain-scoped token is not allowed.")(w, r)
		return
	case with.Token.ID != "unscoped":
		ErrorResponse(http.StatusUnauthorized, "The request you have made requires authentication.")(w, r)
		return
	}
	if scope.System.All && o.noSystemRole {
		ErrorResponse(http.StatusUnauthorized, "User "+Reader+" has no access to the system")(w, r)
		return
	}
	token := "unscoped"
	var catalog []Object
	if scope.System.All || scope.Project.ID != "" {
		catalog = o.catalog("https://"+r.Host, scope.Project.ID)
		token = "system"
	}
	if scope.Project.ID != "" {
		if !slices.ContainsFunc(o.snapshot.EffectiveGrants(),
			func(g tenancy.Grant) bool { return g.UserID == Reader && g.ProjectID == scope.Project.ID }) {
			ErrorResponse(http.StatusUnauthorized, "User "+Reader+" has no access to project "+scope.Project.ID)(w, r)
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

// catalog returns the catalog of a token.
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
	inDomain := func(id string) bool { return id == domain }
	switch {
	case path[0] == "projects" && len(path) == 2:
		if i := slices.IndexFunc(o.snapshot.Projects, func(p tenancy.Project) bool { return p.ID == path[1] }); i >= 0 {
			reply(w, http.StatusOK, Object{"project": o.snapshot.Projects[i]})
		} else {
			ErrorResponse(http.StatusNotFound, "Could not find project: "+path[1]+".")(w, r)
		}
	case path[0] == "groups" && len(path) == 3:
		i := slices.IndexFunc(o.snapshot.Groups, func(g tenancy.UserGroup) bool { return g.ID == path[1] })
		list(o, w, r, "users", o.snapshot.Users,
			func(u tenancy.User) bool { return slices.Contains(o.snapshot.Groups[i].Users, u.ID) })
	case path[0] == "domains":
		list(o, w, r, "domains", o.snapshot.Domains, nil)
	case path[0] == "projects":
		list(o, w, r, "projects", o.snapshot.Projects, nil)
	case path[0] == "users" && domain != "":
		list(o, w, r, "users", o.snapshot.Users, func(u tenancy.User) bool { return inDomain(u.DomainID) })
	case path[0] == "groups" && domain != "":
		list(o, w, r, "groups", o.snapshot.Groups, func(g tenancy.UserGroup) bool { return inDomain(g.DomainID) })
	case path[0] == "roles":
		list(o, w, r, "roles", o.snapshot.Roles, func(role tenancy.Role) bool { return inDomain(role.DomainID) })
	case path[0] == "role_inferences":
		var inferences []Object
		for _, i := range o.snapshot.ImpliedRoles {
			inferences = append(inferences, Object{"prior_role": Object{"id": i.Prior}, "implies": []Object{{"id": i.Implied}}})
		}
		reply(w, http.StatusOK, Object{"role_inferences": inferences})
	case path[0] == "role_assignments":
		list(o, w, r, "role_assignments", o.assignments(), nil)
	default:
		ErrorResponse(http.StatusNotFound, "Could not find this.")(w, r)
	}
}

// assignments returns all role assignments, and one on the system.
func (o *OpenStack) assignments() []Object {
	out := []Object{{"role": Object{"id": o.snapshot.Roles[0].ID}, "user": Object{"id": Reader},
		"scope": Object{"system": Object{"all": true}}}}
	for _, a := range o.snapshot.Assignments {
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
	i := slices.IndexFunc(o.snapshot.Projects, func(p tenancy.Project) bool { return p.ID == project })
	q := o.snapshot.Projects[i].Quota
	if service == "compute" {
		reply(w, http.StatusOK, Object{"quota_set": Object{"id": project, "cores": q.Cores, "ram": q.RAM, "instances": 10}})
	} else {
		reply(w, http.StatusOK, Object{"quota_set": Object{
			"id": project, "gigabytes": q.Gigabytes, "volumes": q.Volumes, "snapshots": q.Snapshots, "gigabytes_ssd": -1,
		}})
	}
}

// extra are unknown properties that a user has added to each object. Keystone stores and returns them.
var extra = Object{
	"ID": "another ID", "Enabled": false, "Domain_ID": "another", "description": "",
	"quota": "unlimited", "users": []string{"0b0b0000000000000000000000000000"},
}

// withExtra returns the JSON of item with extra at the end.
func withExtra(item any) json.RawMessage {
	text, _ := json.Marshal(item)
	own := Object{}
	_ = json.Unmarshal(text, &own)
	delete(own, "quota") // not a property in Keystone
	delete(own, "users")
	text, _ = json.Marshal(own)
	more, _ := json.Marshal(extra)
	return slices.Concat(text[:len(text)-1], []byte(","), more[1:])
}

// list responds with the wanted items, in pages and truncated as configured.
func list[T any](o *OpenStack, w http.ResponseWriter, r *http.Request, key string, items []T, wanted func(T) bool) {
	shown := []json.RawMessage{}
	for _, item := range items {
		if wanted != nil && !wanted(item) {
			continue
		}
		shown = append(shown, withExtra(item))
	}
	body := Object{"links": Object{"self": "http://inside" + r.URL.RequestURI(), "next": nil, "previous": nil}}
	if o.listLimit > 0 && len(shown) > o.listLimit {
		shown = shown[:o.listLimit]
		body["truncated"] = true
	}
	if marker, _ := strconv.Atoi(r.URL.Query().Get("marker")); o.pageSize > 0 {
		shown = shown[marker:]
		if len(shown) > o.pageSize {
			shown = shown[:o.pageSize]
			query := r.URL.Query()
			query.Set("marker", fmt.Sprint(marker+o.pageSize))
			body["links"].(Object)["next"] = "http://inside" + r.URL.Path + "?" + query.Encode()
			body["truncated"] = true
		}
	}
	body[key] = shown
	reply(w, http.StatusOK, body)
}

func reply(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(body)
}
