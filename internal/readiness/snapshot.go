package readiness

import (
	"context"
	"fmt"
	"net/http"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/objectstorage/v1/objects"
	"github.com/gophercloud/utils/v2/openstack/clientconfig"

	"kubernetes-openstack/internal/etcdsnapshot"
)

// Snapshot returns an error if an object of Swift, which etcd.restore names, does not exist, or if its size shows that
// it is not a snapshot. Then a restore would replace all members of etcd at once, and restore nothing.
func (c *Cloud) Snapshot(ctx context.Context, container, name string) error {
	unknown := func(err error) error {
		return fmt.Errorf("etcd.restore: no machine was changed, because this `up` cannot verify that container %s has the "+
			"object %s: %w", container, name, err)
	}
	storage, err := clientconfig.NewServiceClient(ctx, "object-store", nil)
	if err != nil {
		return unknown(err)
	}
	object, err := objects.Get(ctx, storage, container, name, nil).Extract()
	switch {
	case gophercloud.ResponseCodeIs(err, http.StatusNotFound):
		return fmt.Errorf("etcd.restore: must be the name of an object in container %s, not %q, which does not exist. No "+
			"machine was changed. `openstack object list %s` lists the objects", container, name, container)
	case err != nil:
		return unknown(err)
	case !etcdsnapshot.PossibleSize(object.ContentLength):
		return fmt.Errorf("etcd.restore: must be the name of a snapshot in container %s, not %q, which has %d bytes, so it "+
			"is truncated, or not a snapshot of etcd. No machine was changed", container, name, object.ContentLength)
	}
	return nil
}
