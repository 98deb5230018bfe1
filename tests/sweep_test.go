//go:build e2e

package tests

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gophercloud/gophercloud/v2"
)

type object = map[string]any

// sweep deletes all resources of the cluster called name, and all whose names start with name and "-". So it
// also deletes resources of a killed run.
func (c cloud) sweep(t testing.TB, name string) {
	t.Helper()
	ctx := context.Background() // the test's context has ended when cleanups run
	remove := func(kind, id string) {
		client := c.clients[kinds[kind]]
		_, _ = client.Delete(ctx, client.ServiceURL(kind, id), nil) // a later round deletes resources that are still in use
	}
	network := c.clients["network"]
	ids := func(kind, query string) (found []string) {
		var answer map[string][]object
		if _, err := network.Get(ctx, network.ServiceURL(kind)+"?"+query, &answer, nil); err == nil {
			for _, thing := range answer[kind] {
				found = append(found, thing["id"].(string))
			}
		}
		return found
	}
	eventually(t, 3*time.Minute, func() error {
		var remaining []string
		for _, ip := range ids("floatingips", url.Values{"description": {"API of " + name}}.Encode()) { // has no name
			remaining = append(remaining, ip)
			remove("floatingips", ip)
		}
		for _, thing := range c.inventory(t) {
			words := strings.Fields(thing)
			if len(words) < 3 { // resources without a name are Neutron's own, and are deleted with their network
				continue
			}
			kind, named, id := words[0], words[1], words[2]
			if named != name && !strings.HasPrefix(named, name+"-") {
				continue
			}
			remaining = append(remaining, thing)
			switch kind {
			case "os-keypairs":
				id = named
			case "routers":
				for _, port := range ids("ports", "device_owner=network:router_interface&device_id="+id) {
					path := network.ServiceURL(kind, id, "remove_router_interface")
					_, _ = network.Put(ctx, path, object{"port_id": port}, nil, &gophercloud.RequestOpts{OkCodes: []int{200}})
				}
			}
			remove(kind, id)
		}
		if len(remaining) > 0 {
			return fmt.Errorf("these resources still exist: %s", strings.Join(remaining, ", "))
		}
		return nil
	})
}
