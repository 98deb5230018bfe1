// Package swift is a fake OpenStack with the parts that a backup of etcd uses: Keystone's application credentials, and
// Swift's objects, lists and static large objects.
package swift

import (
	"bytes"
	"crypto/md5"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
)

// The credential, and the token that it gets.
const (
	ID     = "credential"
	Secret = "secret"
	Token  = "token"
)

// Swift is the handler of all requests.
type Swift struct {
	// PageSize is the number of names in a list. Swift's default is 10000.
	PageSize int
	// Fail returns the status of a response that replaces the right one, or 0. nil means that no request fails.
	Fail func(r *http.Request) int
	// Respond replaces the right response, if it returns true.
	Respond func(w http.ResponseWriter, r *http.Request) bool
	// Unlisted is the name of an object that exists, but is not in a list yet.
	Unlisted string
	// Deleted is the name of an object that does not exist any more, but is still in a list.
	Deleted string

	mu         sync.Mutex
	containers map[string]map[string]object
}

type object struct {
	content  []byte
	segments []segment // of a static large object
	metadata http.Header
}

type segment struct {
	Path string `json:"path"`
	ETag string `json:"etag"`
	Size int    `json:"size_bytes"`
}

// New returns a Swift with empty containers.
func New(containers ...string) *Swift {
	s := &Swift{PageSize: 3, containers: map[string]map[string]object{}}
	for _, name := range containers {
		s.containers[name] = map[string]object{}
	}
	return s
}

// Names returns the names of all objects of a container, sorted.
func (s *Swift) Names(container string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.containers[container]))
}

// Content returns the content of an object, or nil.
func (s *Swift) Content(container, name string) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	content, _ := s.read(s.containers[container][name])
	return content
}

// Put creates an object, or replaces its content.
func (s *Swift) Put(container, name string, content []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.containers[container][name] = object{content: content, metadata: s.containers[container][name].metadata}
}

// Rename gives an object another name.
func (s *Swift) Rename(container, from, to string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.containers[container][to] = s.containers[container][from]
	delete(s.containers[container], from)
}

// Delete deletes an object.
func (s *Swift) Delete(container, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.containers[container], name)
}

// Env returns the settings of a client of the server at a URL, as NAME=value.
func Env(url string) []string {
	return []string{"OS_AUTH_URL=" + url + "/v3", "OS_APPLICATION_CREDENTIAL_ID=" + ID,
		"OS_APPLICATION_CREDENTIAL_SECRET=" + Secret, "OS_REGION_NAME=R", "OS_INTERFACE=internal"}
}

const account = "/v1/AUTH_ours/"

// ServeHTTP responds to one request.
func (s *Swift) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.Fail != nil {
		if status := s.Fail(r); status != 0 {
			http.Error(w, "<html>\nfailed\n</html>", status)
			return
		}
	}
	if s.Respond != nil && s.Respond(w, r) {
		return
	}
	path, isObject := strings.CutPrefix(r.URL.Path, account)
	switch {
	case r.URL.Path == "/v3/auth/tokens":
		login(w, r)
	case !isObject:
		http.NotFound(w, r)
	case r.Header.Get("X-Auth-Token") != Token:
		http.Error(w, "no token", http.StatusUnauthorized)
	default:
		container, name, _ := strings.Cut(path, "/")
		content, err := io.ReadAll(r.Body) // before the lock, because it can hang
		if err != nil {
			http.Error(w, err.Error(), 499)
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		switch objects, found := s.containers[container]; {
		case !found:
			http.Error(w, "no container", http.StatusNotFound)
		case name == "":
			s.list(w, r, objects)
		case r.Method == http.MethodPut:
			s.put(w, r, objects, name, content)
		default:
			s.object(w, r, objects, name)
		}
	}
}

func login(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Auth struct {
			Identity struct {
				Credential struct{ ID, Secret string } `json:"application_credential"`
			}
		}
	}
	credential := &body.Auth.Identity.Credential
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil || credential.ID != ID || credential.Secret != Secret {
		http.Error(w, "wrong credential", http.StatusUnauthorized)
		return
	}
	url := "http://" + r.Host
	if r.TLS != nil {
		url = "https://" + r.Host
	}
	type object = map[string]any
	w.Header().Set("X-Subject-Token", Token)
	w.WriteHeader(http.StatusCreated)
	respond(w, object{"token": object{"expires_at": "2100-01-01T00:00:00.000000Z", "catalog": []object{
		{"type": "object-store", "endpoints": []object{
			{"interface": "internal", "region": "R", "region_id": "R", "url": url + account},
			{"interface": "public", "region": "R", "region_id": "R", "url": "http://127.0.0.1:1"},
		}},
	}}})
}

func respond(w http.ResponseWriter, body any) { _ = json.NewEncoder(w).Encode(body) }

func (s *Swift) list(w http.ResponseWriter, r *http.Request, objects map[string]object) {
	names, all := []map[string]any{}, slices.Sorted(maps.Keys(objects))
	all = slices.DeleteFunc(all, func(name string) bool { return name == s.Unlisted })
	for _, name := range all {
		if strings.HasPrefix(name, r.FormValue("prefix")) && name > r.FormValue("marker") && len(names) < s.PageSize {
			names = append(names, map[string]any{"name": name})
		}
	}
	w.Header().Set("X-Container-Object-Count", fmt.Sprint(len(all)))
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	respond(w, names)
}

func (s *Swift) put(w http.ResponseWriter, r *http.Request, objects map[string]object, name string, content []byte) {
	o := object{content: content, metadata: http.Header{}}
	for key, values := range r.Header {
		if strings.HasPrefix(key, "X-Object-Meta-") {
			o.metadata[key] = values
		}
	}
	etag := fmt.Sprintf("%x", md5.Sum(content))
	if r.FormValue("multipart-manifest") == "put" {
		if err := json.Unmarshal(content, &o.segments); err != nil || len(o.segments) == 0 {
			http.Error(w, "invalid manifest", http.StatusBadRequest)
			return
		}
		if _, complete := s.read(o); !complete {
			http.Error(w, "a segment is missing or differs", http.StatusBadRequest)
			return
		}
		etag = `"of all segments"`
	}
	if want := r.Header.Get("ETag"); want != "" && want != etag {
		http.Error(w, "the content does not have this ETag", http.StatusUnprocessableEntity)
		return
	}
	objects[name] = o
	w.Header().Set("ETag", etag)
	w.WriteHeader(http.StatusCreated)
}

func (s *Swift) object(w http.ResponseWriter, r *http.Request, objects map[string]object, name string) {
	o, found := objects[name]
	switch {
	case !found || name == s.Deleted:
		http.Error(w, "no object", http.StatusNotFound)
	case r.Method == http.MethodDelete:
		delete(objects, name)
		w.WriteHeader(http.StatusNoContent)
	default:
		maps.Copy(w.Header(), o.metadata)
		size := len(o.content)
		if o.segments != nil {
			size = 0
			for _, segment := range o.segments {
				size += segment.Size
			}
		}
		w.Header().Set("Content-Length", fmt.Sprint(size))
		if r.Method == http.MethodHead {
			return
		}
		content, complete := s.read(o)
		_, _ = w.Write(content)
		if !complete {
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler) // like Swift, which sent the header before it reads the segments
		}
	}
}

// read returns the content of an object, up to the first segment that is missing or differs.
func (s *Swift) read(o object) (content []byte, complete bool) {
	if o.segments == nil {
		return o.content, true
	}
	var out bytes.Buffer
	for _, segment := range o.segments {
		container, name, _ := strings.Cut(strings.TrimPrefix(segment.Path, "/"), "/")
		part, found := s.containers[container][name]
		if !found || len(part.content) != segment.Size || fmt.Sprintf("%x", md5.Sum(part.content)) != segment.ETag {
			return out.Bytes(), false
		}
		out.Write(part.content)
	}
	return out.Bytes(), true
}
