// Package openstack is a fake OpenStack in one process, with the parts that a teardown uses: Keystone, Nova,
// Cinder, Neutron and Octavia. A client can also create and delete some kinds of Neutron's objects.
package openstack

import (
	"cmp"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
)

// Project is the ID and the name of the project of the credentials, and User is the ID of the user. Credentials may
// name any other project, whose ID is its name.
const (
	Project = "ours"
	User    = "us"
)

// Object is an object in the API's JSON form.
type Object = map[string]any

// Thing is an object and its behaviour.
type Thing struct {
	Object
	// Next are the next statuses of the object. Each list request moves it to the next one. After Gone, the
	// object no longer exists.
	Next []string
	// Delete are the statuses after a DELETE. The default is deleting, then Gone.
	Delete []string
	// Refuse is the reason why a DELETE is refused. If it is Gone, the object was deleted meanwhile and the
	// response is 404.
	Refuse string
}

// Gone is the status of an object that no longer exists.
const Gone = "gone"

// Cloud holds a list of things for each kind: servers, volumes, snapshots, floatingips, loadbalancers.
type Cloud struct {
	// URL is the URL of Keystone.
	URL string
	// Console is the console log of all servers. Set it before the first request.
	Console string

	mu       sync.Mutex
	names    map[string]string // of projects whose names differ from their IDs
	things   map[string][]*Thing
	created  int
	requests []string
	down     bool
}

// Start starts a cloud with Keystone and these types of services in its catalogue. All services share one port.
func Start(t testing.TB, services ...string) *Cloud {
	t.Helper()
	c := &Cloud{names: map[string]string{}, things: map[string][]*Thing{}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		defer c.mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		request := r.Method + " " + r.URL.RequestURI()
		c.requests = append(c.requests, request)
		kind, id := path.Split(strings.TrimPrefix(strings.TrimSuffix(r.URL.Path, "/detail"), "/"))
		kind = path.Base(kind)
		switch {
		case c.down:
			http.Error(w, "down", http.StatusServiceUnavailable)
		case r.URL.Path == "/v3/auth/tokens":
			project := c.login(t, r)
			w.Header().Set("X-Subject-Token", tokenPrefix+project["id"])
			w.WriteHeader(http.StatusCreated)
			write(t, w, Object{"token": token(c.URL, services, project)})
		case !strings.Contains(r.URL.Path, "/v"):
			write(t, w, Object{"versions": []Object{{"id": "v2.0", "status": "CURRENT"}}})
		case singular[neutronPath(r)[0]] != "":
			c.neutron(t, w, r)
		case r.Method == http.MethodPost && id == "action": // of a server, for its console
			write(t, w, Object{"output": c.Console})
		case r.Method == http.MethodDelete:
			c.delete(w, kind, id)
		case r.Method == http.MethodGet:
			key := strings.ReplaceAll(strings.TrimPrefix(id, "os-"), "-", "_") // such as server_groups
			write(t, w, Object{key: c.list(id, r)})
		default:
			t.Errorf("the fake OpenStack does not support %s", request)
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(server.Close)
	c.URL = server.URL + "/v3"
	return c
}

func write(t testing.TB, w http.ResponseWriter, body any) {
	if err := json.NewEncoder(w).Encode(body); err != nil {
		t.Error(err)
	}
}

// tokenPrefix is the prefix of all tokens. The rest of a token is the ID of its project.
const tokenPrefix = "token-"

// login returns the ID and the name of the project of a login, or nil if the login has none.
func (c *Cloud) login(t testing.TB, r *http.Request) map[string]string {
	var body struct {
		Auth struct {
			Scope struct{ Project struct{ ID, Name string } }
		}
	}
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
		t.Error(err)
	}
	project := body.Auth.Scope.Project
	name := cmp.Or(project.Name, project.ID)
	if name == "" {
		return nil
	}
	return map[string]string{"id": cmp.Or(c.names[name], name), "name": name}
}

// Name gives a project another name.
func (c *Cloud) Name(name, id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.names[name] = id
}

func token(url string, services []string, project map[string]string) Object {
	token := Object{"user": Object{"id": User, "name": "user"}, "expires_at": "2100-01-01T00:00:00.000000Z"}
	if project == nil {
		return token // Keystone returns no catalogue
	}
	var catalogue []Object
	for _, service := range append([]string{"identity"}, services...) {
		prefix := map[string]string{"identity": "/v3", "compute": "/v2.1", "block-storage": "/v3/" + Project,
			"network": "/network", "load-balancer": "/load-balancer", "object-store": "/v1/AUTH_" + Project}[service]
		catalogue = append(catalogue, Object{"type": service, "name": service, "endpoints": []Object{
			{"interface": "public", "region": "R", "region_id": "R", "url": strings.TrimSuffix(url, "/v3") + prefix},
		}})
	}
	token["project"], token["catalog"] = project, catalogue
	return token
}

// status returns the key of the status in objects of a kind.
func status(kind string) string {
	if kind == "loadbalancers" {
		return "provisioning_status"
	}
	return "status"
}

func (c *Cloud) list(kind string, r *http.Request) []Object {
	list := []Object{}
	for _, thing := range slices.Clone(c.things[kind]) {
		if len(thing.Next) > 0 {
			thing.Object[status(kind)], thing.Next = thing.Next[0], thing.Next[1:]
		}
		switch {
		case thing.Object[status(kind)] == Gone:
			c.remove(kind, thing)
		case r.URL.Query().Has("project_id") && r.URL.Query().Get("project_id") != thing.Object["project_id"]:
		default:
			list = append(list, thing.Object)
		}
	}
	return list
}

func (c *Cloud) delete(w http.ResponseWriter, kind, id string) {
	i := slices.IndexFunc(c.things[kind], func(t *Thing) bool { return t.Object["id"] == id })
	if i < 0 {
		http.Error(w, "{}", http.StatusNotFound)
		return
	}
	thing := c.things[kind][i]
	refuse := thing.Refuse
	if refuse == Gone {
		c.remove(kind, thing)
		http.Error(w, "{}", http.StatusNotFound)
		return
	}
	if slices.ContainsFunc(c.things["snapshots"], func(s *Thing) bool { return s.Object["volume_id"] == id }) {
		refuse = "it has snapshots"
	}
	if refuse != "" {
		http.Error(w, `{"badRequest": {"message": "`+refuse+`"}}`, http.StatusBadRequest)
		return
	}
	if thing.Next = thing.Delete; thing.Next == nil {
		thing.Next = []string{"deleting", Gone}
	}
	if kind == "floatingips" { // Neutron deletes them immediately
		c.remove(kind, thing)
	}
	w.WriteHeader(http.StatusNoContent)
}

func (c *Cloud) remove(kind string, thing *Thing) {
	c.things[kind] = slices.DeleteFunc(c.things[kind], func(t *Thing) bool { return t == thing })
}

// Env returns the environment variables of a client.
func (c *Cloud) Env() map[string]string {
	return map[string]string{
		"OS_AUTH_URL": c.URL, "OS_USERNAME": "user", "OS_PASSWORD": "password", "OS_PROJECT_NAME": Project,
		"OS_USER_DOMAIN_NAME": "Default", "OS_PROJECT_DOMAIN_NAME": "Default", "OS_DOMAIN_NAME": "",
		"OS_CLOUD": "", "OS_REGION_NAME": "", "OS_INTERFACE": "",
	}
}

// Add adds a thing, which belongs to Project unless it has another project_id.
func (c *Cloud) Add(kind string, thing Thing) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if thing.Object["project_id"] == nil {
		thing.Object["project_id"] = Project
	}
	c.things[kind] = append(c.things[kind], &thing)
}

// Change changes the thing with this ID.
func (c *Cloud) Change(id string, change func(*Thing)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, things := range c.things {
		for _, thing := range things {
			if thing.Object["id"] == id {
				change(thing)
			}
		}
	}
}

// Remove removes all things of a kind.
func (c *Cloud) Remove(kind string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.things, kind)
}

// Down makes the cloud refuse all requests, or accept them again.
func (c *Cloud) Down(down bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.down = down
}

// IDs returns the sorted IDs of all things.
func (c *Cloud) IDs() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	ids := []string{}
	for _, things := range c.things {
		for _, thing := range things {
			ids = append(ids, thing.Object["id"].(string))
		}
	}
	slices.Sort(ids)
	return ids
}

// Requests returns all requests so far that start with prefix, in their order.
func (c *Cloud) Requests(prefix string) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(c.requests), func(r string) bool { return !strings.HasPrefix(r, prefix) })
}
