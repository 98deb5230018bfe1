package drift

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/objectstorage/v1/containers"

	"kubernetes-openstack/internal/openstack"
)

// Cloud is what OpenStack has.
type Cloud struct {
	// Lists are the resources of the project by list. A list that could not be read is missing.
	Lists map[string][]object
	// Unread maps the lists that could not be read to the reasons.
	Unread map[string]string
	// User is the ID of the user who has read the lists.
	User string
}

// Services are the services that ReadCloud reads.
var Services = []string{"compute", "network", "volume", "load-balancer", "object-store"}

// ReadCloud lists the resources of the project in parallel. timeout is the time limit of each list. It sends only GET
// requests.
func ReadCloud(ctx context.Context, project *openstack.Project, timeout time.Duration) Cloud {
	cloud := Cloud{map[string][]object{}, map[string]string{}, project.UserID}
	var mu sync.Mutex
	var reads sync.WaitGroup
	for name, list := range lists(project) {
		reads.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, timeout)
			defer cancel()
			objects, err := list(ctx)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				cloud.Unread[name] = err.Error()
			} else {
				cloud.Lists[name] = objects
			}
		})
	}
	reads.Wait()
	cloud.link()
	return cloud
}

// lists returns a function for each list of the services that project has.
func lists(project *openstack.Project) map[string]func(context.Context) ([]object, error) {
	all := map[string]func(context.Context) ([]object, error){}
	add := func(client *gophercloud.ServiceClient, name string, path ...string) {
		url := client.ServiceURL(path...)
		all[name] = func(ctx context.Context) ([]object, error) { return read(ctx, client, url, name) }
	}
	// Nova and Cinder list only resources of the project. Neutron and Octavia need a filter, because they show
	// administrators the resources of all projects.
	owned := "?project_id=" + project.ID
	add(project.Compute, "servers", "servers", "detail")
	add(project.Compute, "server_groups", "os-server-groups?limit=1000")
	add(project.Compute, "keypairs", "os-keypairs")
	add(project.Volume, "volumes", "volumes", "detail")
	for name, path := range map[string]string{
		"networks": "networks", "subnets": "subnets", "routers": "routers", "ports": "ports",
		"floatingips": "floatingips", "security_groups": "security-groups", "security_group_rules": "security-group-rules",
	} {
		add(project.Network, name, path+owned)
	}
	if project.LoadBalancer != nil {
		for _, name := range []string{"loadbalancers", "listeners", "pools", "healthmonitors"} {
			add(project.LoadBalancer, name, "lbaas", name+owned)
		}
	}
	if project.ObjectStore != nil {
		all["containers"] = func(ctx context.Context) ([]object, error) {
			pages, err := containers.List(project.ObjectStore, nil).AllPages(ctx)
			if err != nil {
				return nil, err
			}
			names, err := containers.ExtractNames(pages)
			var out []object
			for _, name := range names {
				out = append(out, object{"name": name})
			}
			return out, err
		}
	}
	return all
}

// read returns the objects of all pages of a list.
func read(ctx context.Context, client *gophercloud.ServiceClient, url, key string) (all []object, err error) {
	for url != "" {
		var page object
		response, err := client.Get(ctx, url, &page, &gophercloud.RequestOpts{OkCodes: []int{http.StatusOK}})
		if err != nil {
			return nil, err
		}
		if err := response.Body.Close(); err != nil {
			return nil, err
		}
		items, isList := page[key].([]any)
		if !isList {
			return nil, fmt.Errorf("%s: the response has no list %s", url, key)
		}
		for _, item := range items {
			o, _ := item.(object)
			if pair, nested := o["keypair"].(object); nested {
				o = pair
			}
			all = append(all, o)
		}
		url = ""
		links, _ := page[key+"_links"].([]any)
		for _, link := range links {
			if l, _ := link.(object); l["rel"] == "next" {
				url, _ = l["href"].(string)
			}
		}
	}
	return all, nil
}

// ownerOf returns the ID of the owner of a key pair, which is the user who created the instances with this pair: Nova
// refuses the pair of another user. It returns "" if there is no such instance.
func (c Cloud) ownerOf(pair string) string {
	for _, server := range c.Lists["servers"] {
		if text(server["key_name"]) == pair {
			return text(server["user_id"])
		}
	}
	return ""
}

// link adds what OpenStack has in another list: the ports of each instance, and the attachments of volumes.
func (c Cloud) link() {
	ports := map[any][]any{}
	for _, port := range c.Lists["ports"] {
		ports[port["device_id"]] = append(ports[port["device_id"]], object{"port": port["id"]})
	}
	if c.Lists["ports"] != nil {
		for _, server := range c.Lists["servers"] {
			server["networks"] = ports[server["id"]]
		}
	}
	if volumes, read := c.Lists["volumes"]; read {
		c.Lists["attachments"] = nil
		for _, volume := range volumes {
			attachments, _ := volume["attachments"].([]any)
			for _, attachment := range attachments {
				a, _ := attachment.(object)
				c.Lists["attachments"] = append(c.Lists["attachments"],
					object{"id": fmt.Sprintf("%v/%v", a["server_id"], volume["id"])})
			}
		}
	} else if reason, failed := c.Unread["volumes"]; failed {
		c.Unread["attachments"] = reason
	}
}
