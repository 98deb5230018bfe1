//go:build e2e

package tests

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gophercloud/gophercloud/v2"
)

type object = map[string]any

// create makes one thing of a kind, and gives its fields.
func (c cloud) create(ctx context.Context, kind string, fields object) (object, error) {
	singular := strings.TrimSuffix(strings.ReplaceAll(kind, "-", "_"), "s")
	var answer map[string]object
	client := c.clients[kinds[kind]]
	_, err := client.Post(ctx, client.ServiceURL(kind), map[string]object{singular: fields}, &answer,
		&gophercloud.RequestOpts{OkCodes: []int{200, 201, 202}})
	if err != nil {
		return nil, fmt.Errorf("create %s %v: %w", singular, fields["name"], err)
	}
	return answer[singular], nil
}

// sweep deletes everything of the cluster called name, and whose names begin so: also what a run left that was killed.
func (c cloud) sweep(t testing.TB, name string) {
	t.Helper()
	ctx := context.Background() // the test's own has ended when its cleanups run
	remove := func(kind, id string) {
		client := c.clients[kinds[kind]]
		_, _ = client.Delete(ctx, client.ServiceURL(kind, id), nil) // what others still hold goes in a later round
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
		var left []string
		for _, thing := range c.inventory(t) {
			words := strings.Fields(thing)
			if len(words) < 3 { // what has no name is Neutron's own, and goes with its network
				continue
			}
			kind, called, id := words[0], words[1], words[2]
			if called != name && !strings.HasPrefix(called, name+"-") {
				continue
			}
			left = append(left, thing)
			switch kind {
			case "os-keypairs":
				id = called
			case "ports": // a floating IP has no name
				for _, ip := range ids("floatingips", "port_id="+id) {
					remove("floatingips", ip)
				}
			case "routers":
				for _, port := range ids("ports", "device_owner=network:router_interface&device_id="+id) {
					url := network.ServiceURL(kind, id, "remove_router_interface")
					_, _ = network.Put(ctx, url, object{"port_id": port}, nil, &gophercloud.RequestOpts{OkCodes: []int{200}})
				}
			}
			remove(kind, id)
		}
		if len(left) > 0 {
			return fmt.Errorf("still there: %s", strings.Join(left, ", "))
		}
		return nil
	})
}
