package main

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/common/diag"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource/plugin"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"kubernetes-openstack/tests/openstack"
)

// engine records the messages that it gets.
type engine struct {
	mu     sync.Mutex
	logs   []string
	onLog  func(message string) // called with each log message
	status func(message string) // called with each status message
}

func (e *engine) Log(_ context.Context, severity diag.Severity, _ resource.URN, message string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.logs = append(e.logs, string(severity)+": "+message)
	if e.onLog != nil {
		e.onLog(message)
	}
	return nil
}

func (e *engine) LogStatus(_ context.Context, _ diag.Severity, _ resource.URN, message string) error {
	if e.status != nil {
		e.status(message)
	}
	return nil
}

func (e *engine) log() string { return strings.Join(e.logs, "\n") }

// start starts an OpenStack with Octavia, and sets the environment variables that point to it.
func start(t *testing.T) *openstack.Cloud {
	t.Helper()
	return startWith(t, "compute", "block-storage", "network", "load-balancer")
}

func startWith(t *testing.T, services ...string) *openstack.Cloud {
	t.Helper()
	c := openstack.Start(t, services...)
	for key, value := range c.Env() {
		t.Setenv(key, value)
	}
	return c
}

func properties(onDestroy string) resource.PropertyMap {
	return resource.NewPropertyMapFromMap(map[string]any{"cluster": "prod", "onDestroy": onDestroy})
}

// destroy runs a destroy of cluster prod.
func destroy(t *testing.T, e *engine, onDestroy string, timeout time.Duration) error {
	t.Helper()
	p := newProvider(e)
	p.interval = time.Millisecond
	_, err := p.Delete(t.Context(), plugin.DeleteRequest{Inputs: properties(onDestroy), Timeout: timeout.Seconds()})
	return err
}

type object = openstack.Object

func volume(id, cluster string) openstack.Thing {
	return openstack.Thing{Object: object{"id": id, "name": "pvc-" +
		id, "size": 2, "status": "available", "metadata": object{
		"cinder.csi.openstack.org/cluster": cluster, "csi.storage.k8s.io/pvc/name": "data-" + id,
		"csi.storage.k8s.io/pvc/namespace": "shop",
	}}}
}

func snapshot(id, cluster, volume string) openstack.Thing {
	return openstack.Thing{Object: object{"id": id, "name": "snapshot-" +
		id, "size": 2, "status": "available", "volume_id": volume, "metadata": object{
		"cinder.csi.openstack.org/cluster":       cluster,
		"csi.storage.k8s.io/volumesnapshot/name": "daily", "csi.storage.k8s.io/volumesnapshot/namespace": "shop",
	}}}
}

func loadBalancer(id, name string) openstack.Thing {
	return openstack.Thing{
		Object: object{"id": id, "name": name, "provisioning_status": "ACTIVE"},
		Delete: []string{"PENDING_DELETE", "PENDING_DELETE", openstack.Gone},
	}
}

func floatingIP(id, cluster string) openstack.Thing {
	return openstack.Thing{Object: object{
		"id": id, "floating_ip_address": "203.0.113.1", "status": "ACTIVE",
		"description": "Floating IP for Kubernetes external service shop/web from cluster " + cluster,
	}}
}

func server(id, cluster string) openstack.Thing {
	return openstack.Thing{Object: object{"id": id, "name": cluster + "-" + id, "metadata": object{"cluster": cluster}}}
}

// inOtherProject moves a thing to another project, which administrators see, too.
func inOtherProject(thing openstack.Thing) openstack.Thing {
	thing.Object["project_id"] = "theirs"
	return thing
}

// populate adds resources of clusters and users, and returns the IDs of those that do not belong to cluster
// prod.
func populate(c *openstack.Cloud) (others []string) {
	v := volume("v1", "prod")
	v.Next = []string{"in-use", "detaching", "detaching", "available"} // after an instance was deleted
	c.Add("volumes", v)
	c.Add("volumes", volume("v2", "prod"))
	c.Add("snapshots", snapshot("s1", "prod", "v1"))
	c.Add("loadbalancers", loadBalancer("b1", "kube_service_prod_shop_web"))
	c.Add("floatingips", floatingIP("f1", "prod"))

	c.Add("servers", server("i", "prod-2"))
	c.Add("volumes", volume("w1", "prod-2"))
	c.Add("snapshots", snapshot("w2", "prod-2", "w1"))
	c.Add("volumes", openstack.Thing{Object: object{"id": "w3", "name": "pvc-v1", "status": "available",
		"metadata": object{"cluster": "prod"}}})
	for id, name := range map[string]string{
		"w4": "kube_service_prod-2_shop_web", "w5": "kube_service_prod_x_shop_web", "w6": "prod-api",
		"w7": "my_kube_service_prod_shop_web",
	} {
		c.Add("loadbalancers", loadBalancer(id, name))
	}
	c.Add("loadbalancers", inOtherProject(loadBalancer("w8", "kube_service_prod_shop_web")))
	c.Add("floatingips", floatingIP("w9", "prod-2"))
	c.Add("floatingips", floatingIP("x1", "other prod"))
	c.Add("floatingips", inOtherProject(floatingIP("x2", "prod")))
	mine := floatingIP("x3", "prod")
	mine.Object["description"] = "of the shop, for good, and not from cluster prod"
	c.Add("floatingips", mine)
	return []string{"i", "w1", "w2", "w3", "w4", "w5", "w6", "w7", "w8", "w9", "x1", "x2", "x3"}
}

// TestDelete checks that the destroy lists all data before the first deletion, and deletes a snapshot before
// its volume. It deletes nothing of others.
func TestDelete(t *testing.T) {
	c := start(t)
	others := populate(c)
	e := &engine{}
	deletes := map[string]int{}
	e.onLog = func(message string) { deletes[message] = len(c.Requests("DELETE")) }
	require.NoError(t, destroy(t, e, "delete", time.Minute))
	assert.Equal(t, others, c.IDs())

	const lost = `deleting these volumes and snapshots of cluster prod with their data:
  snapshot snapshot-s1 (s1): 2 GiB of volume v1, VolumeSnapshot shop/daily
  volume pvc-v1 (v1): 2 GiB, claim shop/data-v1
  volume pvc-v2 (v2): 2 GiB, claim shop/data-v2`
	assert.Equal(t, "info: "+lost, e.logs[0])
	assert.Equal(t, "info: deleting these resources of the Services in cluster prod:\n"+
		"  load balancer kube_service_prod_shop_web (b1)\n  floating IP 203.0.113.1 (f1)", e.logs[1])
	assert.Equal(t, 0, deletes[lost])
	for _, name := range []string{"snapshot snapshot-s1 (s1)", "volume pvc-v1 (v1)",
		"load balancer kube_service_prod_shop_web (b1)"} {
		assert.Contains(t, e.logs, "info: deleted "+name)
	}
	requests := strings.Join(c.Requests("DELETE"), "\n")
	assert.Less(t, strings.Index(requests, "snapshots/s1"), strings.Index(requests, "volumes/v1"))
	assert.Contains(t, requests, "loadbalancers/b1?cascade=true")

	e = &engine{}
	require.NoError(t, destroy(t, e, "delete", time.Minute))
	assert.Empty(t, e.logs)
}

// TestKeep checks that all resources with data are kept and named. Any setting other than "delete" means
// "keep".
func TestKeep(t *testing.T) {
	for _, setting := range []string{"keep", ""} {
		c := start(t)
		populate(c)
		e := &engine{}
		require.NoError(t, destroy(t, e, setting, time.Minute))
		for _, id := range []string{"v1", "v2", "s1"} {
			assert.Contains(t, c.IDs(), id)
		}
		for _, id := range []string{"b1", "f1"} {
			assert.NotContains(t, c.IDs(), id)
		}
		assert.Equal(t, `info: keeping these volumes and snapshots of cluster prod with their data:
  snapshot snapshot-s1 (s1): 2 GiB of volume v1, VolumeSnapshot shop/daily
  volume pvc-v1 (v1): 2 GiB, claim shop/data-v1
  volume pvc-v2 (v2): 2 GiB, claim shop/data-v2
list them by their property cinder.csi.openstack.org/cluster='prod'; `+
			"docs/storage.md describes how another cluster can use them", e.logs[0])
		for _, request := range c.Requests("DELETE") {
			assert.NotRegexp(t, "volumes|snapshots", request)
		}
	}
}

// TestInstancesComeFirst checks that nothing is deleted while the cluster has an instance, because it may
// still write data and create resources.
func TestInstancesComeFirst(t *testing.T) {
	c := start(t)
	populate(c)
	c.Add("servers", server("b", "prod"))
	c.Add("servers", server("a", "prod"))
	for _, setting := range []string{"keep", "delete"} {
		e := &engine{}
		err := destroy(t, e, setting, time.Minute)
		assert.EqualError(t, err,
			"cluster prod still has instances, so its other resources are not deleted: prod-a (a), prod-b (b)")
		assert.Empty(t, e.logs)
	}
	assert.Empty(t, c.Requests("DELETE"))
	for _, id := range []string{"a", "b"} { // Nova still lists them, and the OpenStack provider has returned
		c.Change(id, func(thing *openstack.Thing) { thing.Object["status"] = "DELETED" })
	}
	require.NoError(t, destroy(t, &engine{}, "delete", time.Minute))
	assert.NotEmpty(t, c.Requests("DELETE"))
}

// TestUndeletableResources checks that a resource that cannot be deleted does not block others, and that the
// error names it with the reason. The next destroy continues.
func TestUndeletableResources(t *testing.T) {
	c := start(t)
	populate(c)
	refused := volume("v3", "prod")
	refused.Refuse = "it belongs to a group"
	failing := volume("v4", "prod")
	failing.Delete = []string{"deleting", "error_deleting"}
	attached := volume("v5", "prod")
	attached.Object["status"], attached.Object["attachments"] = "in-use", []object{{"server_id": "i"}}
	snapshotted := volume("v6", "prod")
	for _, thing := range []openstack.Thing{refused, failing, attached, snapshotted} {
		c.Add("volumes", thing)
	}
	busy := snapshot("s6", "prod", "v6")
	busy.Delete = []string{"deleting", "available"} // as Ceph's snapshot with a clone
	c.Add("snapshots", busy)
	withForeignSnapshot := volume("v7", "prod")
	c.Add("volumes", withForeignSnapshot)
	c.Add("snapshots", openstack.Thing{Object: object{"id": "y1", "name": "mine", "volume_id": "v7",
		"status": "available"}})
	broken := loadBalancer("b2", "kube_service_prod_shop_api")
	broken.Delete = []string{"PENDING_DELETE", "ERROR"}
	c.Add("loadbalancers", broken)

	e := &engine{}
	err := destroy(t, e, "delete", time.Minute)
	require.Error(t, err)
	lines := strings.Split(err.Error(), "\n")
	assert.Equal(t, "cluster prod still has these resources; the next destroy continues with them:", lines[0])
	for i, want := range []string{
		"  snapshot snapshot-s6 (s6): deletion was requested, but the status is available",
		"  volume pvc-v3 (v3): cannot delete it: .*it belongs to a group.*",
		"  volume pvc-v4 (v4): deletion was requested, but the status is error_deleting",
		"  volume pvc-v5 (v5): it is attached to instance prod-2-i, which does not belong to the cluster",
		"  volume pvc-v6 (v6): it has the snapshot snapshot-s6 (s6)",
		"  volume pvc-v7 (v7): cannot delete it: .*it has snapshots.*",
		"  load balancer kube_service_prod_shop_api (b2): deletion was requested, but the status is ERROR",
	} {
		require.Greater(t, len(lines), i+1, err)
		assert.Regexp(t, "^"+strings.NewReplacer("(", `\(`, ")", `\)`).Replace(want)+"$", lines[i+1])
	}
	assert.Len(t, lines, 8)
	for _, id := range []string{"v1", "v2", "s1", "b1", "f1"} {
		assert.NotContains(t, c.IDs(), id)
	}

	for _, id := range []string{"v3", "v4", "v5", "v6", "s6", "b2"} {
		c.Change(id, func(thing *openstack.Thing) {
			thing.Refuse, thing.Delete, thing.Object["attachments"] = "", nil, nil
			if thing.Object["status"] != nil {
				thing.Object["status"] = "available"
			}
		})
	}
	c.Change("y1", func(thing *openstack.Thing) { thing.Next = []string{openstack.Gone} })
	require.NoError(t, destroy(t, &engine{}, "delete", time.Minute))
	for _, id := range c.IDs() {
		assert.Contains(t, "i w1 w2 w3 w4 w5 w6 w7 w8 w9 x1 x2 x3", id)
	}
}

// TestTimeout checks that each wait has a limit, and that a wait does not block the deletion of other
// resources.
func TestTimeout(t *testing.T) {
	c := start(t)
	populate(c)
	c.Change("v1", func(thing *openstack.Thing) { thing.Next, thing.Object["status"] = nil, "detaching" })
	c.Change("s1", func(thing *openstack.Thing) { thing.Object["volume_id"] = "v0" })
	begin := time.Now()
	err := destroy(t, &engine{}, "delete", time.Second)
	assert.EqualError(t, err,
		"timeout after 1s: cluster prod still has these resources; the next destroy continues with them:\n"+
			"  volume pvc-v1 (v1): its status is detaching")
	assert.Less(t, time.Since(begin), 10*time.Second)
	for _, id := range []string{"v2", "s1", "b1", "f1"} {
		assert.NotContains(t, c.IDs(), id)
	}
}

// TestCancel checks that the wait ends when the engine cancels.
func TestCancel(t *testing.T) {
	c := start(t)
	v := volume("v1", "prod")
	v.Object["status"] = "detaching"
	c.Add("volumes", v)
	e := &engine{}
	p := newProvider(e)
	p.interval = time.Millisecond
	e.status = func(message string) {
		if strings.Contains(message, "pvc-v1") { // the wait has begun
			_ = p.SignalCancellation(t.Context())
		}
	}
	begin := time.Now()
	_, err := p.Delete(t.Context(), plugin.DeleteRequest{Inputs: properties("delete")})
	assert.ErrorIs(t, err, context.Canceled)
	assert.ErrorContains(t, err, "volume pvc-v1 (v1)")
	assert.Less(t, time.Since(begin), 10*time.Second)
}

// TestServices checks that a cloud without Octavia has no load balancers to delete. A failure of Octavia is
// an error, and nothing is deleted before all resources are listed.
func TestServices(t *testing.T) {
	c := startWith(t, "compute", "block-storage", "network")
	c.Add("volumes", volume("v1", "prod"))
	c.Add("floatingips", floatingIP("f1", "prod"))
	require.NoError(t, destroy(t, &engine{}, "delete", time.Minute))
	assert.Empty(t, c.IDs())
	assert.Empty(t, c.Requests("GET /load-balancer"))

	startWith(t, "compute", "network")
	assert.ErrorContains(t, destroy(t, &engine{}, "delete", time.Minute), "log in to OpenStack: volume: ")

	c = start(t)
	populate(c)
	c.Down(true)
	assert.ErrorContains(t, destroy(t, &engine{}, "delete", time.Minute), "log in to OpenStack: ")
	assert.Empty(t, c.Requests("DELETE"))
}

// TestOpenStackIsUnavailableForAMoment checks that a wait continues after OpenStack was unavailable for a moment.
func TestOpenStackIsUnavailableForAMoment(t *testing.T) {
	c := start(t)
	populate(c)
	var failures []string
	e := &engine{status: func(message string) {
		if strings.HasPrefix(message, "waiting") && failures == nil {
			c.Down(true)
		} else if strings.Contains(message, "list the snapshots of cluster prod: ") {
			failures = append(failures, message)
			c.Down(false)
		}
	}}
	require.NoError(t, destroy(t, e, "delete", time.Minute))
	assert.Len(t, failures, 1)
	assert.NotContains(t, c.IDs(), "v1")
}

// TestResourceDisappears checks that a resource that disappears after it was listed counts as deleted.
func TestResourceDisappears(t *testing.T) {
	c := start(t)
	v := volume("v1", "prod")
	v.Refuse = openstack.Gone
	c.Add("volumes", v)
	e := &engine{}
	require.NoError(t, destroy(t, e, "delete", time.Minute))
	assert.Len(t, c.Requests("DELETE"), 1)
	assert.Contains(t, e.logs, "info: deleted volume pvc-v1 (v1)")
}

func TestOfService(t *testing.T) {
	for name, want := range map[string]bool{
		"kube_service_prod_shop_web":   true,
		"kube_service_prod_x_shop_web": false, // belongs to cluster prod_x
		"kube_service_prod-2_shop_web": false,
		"kube_service_prod_web":        false,
		"kube_service_pro":             false,
		"prod-api":                     false,
	} {
		assert.Equal(t, want, ofService(name, "prod"), name)
	}
	assert.True(t, ofService("kube_service_prod_x_shop_web", "prod_x"))
}
