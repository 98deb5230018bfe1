package openstack

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// singular maps the kinds of objects that a client can create to the key of one object.
var singular = map[string]string{
	"security-groups": "security_group", "security-group-rules": "security_group_rule", "ports": "port",
}

// neutronPath returns the parts of a path in Neutron's API: the kind, the ID and a part of the object.
func neutronPath(r *http.Request) []string {
	rest, _ := strings.CutPrefix(r.URL.Path, "/network/v2.0/")
	return strings.Split(rest, "/")
}

// neutron answers requests for the kinds in singular. As Neutron does, it returns 404 for objects of other
// projects, and 409 for a second object where only one can exist.
func (c *Cloud) neutron(t testing.TB, w http.ResponseWriter, r *http.Request) {
	parts := append(neutronPath(r), "", "")
	kind, id := parts[0], parts[1]
	project := strings.TrimPrefix(r.Header.Get("X-Auth-Token"), tokenPrefix)
	var body map[string]any
	if r.Method == http.MethodPost || r.Method == http.MethodPut {
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			t.Error(err)
		}
	}
	i := slices.IndexFunc(c.things[kind], func(thing *Thing) bool {
		return thing.Object["id"] == id && thing.Object["project_id"] == project
	})
	switch {
	case r.Method == http.MethodPost:
		object, _ := body[singular[kind]].(map[string]any)
		c.create(t, w, kind, project, object)
	case id == "":
		write(t, w, Object{strings.ReplaceAll(kind, "-", "_"): c.list(kind, r)})
	case i < 0:
		http.Error(w, `{"NeutronError": {"type": "NotFound", "message": "`+id+` could not be found"}}`, http.StatusNotFound)
	case r.Method == http.MethodDelete:
		c.things[kind] = slices.Delete(c.things[kind], i, i+1)
		c.things["security-group-rules"] = slices.DeleteFunc(c.things["security-group-rules"], func(rule *Thing) bool {
			return rule.Object["security_group_id"] == id
		})
		w.WriteHeader(http.StatusNoContent)
	case parts[2] == "tags":
		c.things[kind][i].Object["tags"] = body["tags"]
		write(t, w, body)
	default: // GET or PUT
		changes, _ := body[singular[kind]].(map[string]any)
		for key, value := range changes {
			c.things[kind][i].Object[key] = value
		}
		write(t, w, Object{singular[kind]: c.things[kind][i].Object})
	}
}

func (c *Cloud) create(t testing.TB, w http.ResponseWriter, kind, project string, object Object) {
	if group, ok := object["security_group_id"]; ok && !slices.ContainsFunc(c.things["security-groups"],
		func(other *Thing) bool { return other.Object["id"] == group && other.Object["project_id"] == project }) {
		http.Error(w, `{"NeutronError": {"type": "NotFound", "message": "no such security group"}}`, http.StatusNotFound)
		return
	}
	key := uniqueness(kind, object)
	for _, other := range c.things[kind] {
		if key != "" && uniqueness(kind, other.Object) == key {
			message := fmt.Sprintf(`{"NeutronError": {"type": "Conflict", "message": "%s %v has %s"}}`, singular[kind],
				other.Object["id"], key)
			http.Error(w, message, http.StatusConflict)
			return
		}
	}
	c.created++
	object["id"] = fmt.Sprintf("%s-%d", singular[kind], c.created)
	object["project_id"], object["tenant_id"], object["status"] = project, project, "ACTIVE"
	c.things[kind] = append(c.things[kind], &Thing{Object: object})
	w.WriteHeader(http.StatusCreated)
	write(t, w, Object{singular[kind]: object})
}

// uniqueness returns the text that only one object of a kind can have, or "" if Neutron has no such limit. Two
// rules of a group that differ only in their descriptions are the same for Neutron, and so are two ports with the
// same address in a subnet.
func uniqueness(kind string, object Object) string {
	switch kind {
	case "security-group-rules":
		var key []string
		for _, field := range []string{"security_group_id", "direction", "ethertype", "protocol", "port_range_min",
			"port_range_max", "remote_ip_prefix", "remote_group_id"} {
			key = append(key, fmt.Sprint(object[field]))
		}
		return strings.Join(key, " ")
	case "ports":
		return fmt.Sprint(object["fixed_ips"])
	}
	return ""
}
