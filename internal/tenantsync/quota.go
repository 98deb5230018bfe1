package tenantsync

import (
	"context"
	"fmt"
	"net/http"
	"slices"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"
	volumequotas "github.com/gophercloud/gophercloud/v2/openstack/blockstorage/v3/quotasets"
	computequotas "github.com/gophercloud/gophercloud/v2/openstack/compute/v2/quotasets"
	"golang.org/x/sync/errgroup"

	"kubernetes-openstack/internal/tenancy"
)

// addQuotas adds those of the projects that have a namespace and somebody to use it; the others' stay none.
func (r *reader) addQuotas(ctx context.Context, w tenancy.World, settings tenancy.Settings) error {
	plan, err := tenancy.NewPlan(w, settings, nil)
	if err != nil {
		return err
	}
	projects := map[string]*tenancy.Project{}
	for i := range w.Projects {
		projects[w.Projects[i].ID] = &w.Projects[i]
	}
	used := usedProjects(w)
	quotas, reading := errgroup.WithContext(ctx)
	quotas.SetLimit(parallel)
	for _, t := range plan.Tenants {
		if !used[t.ProjectID] {
			continue
		}
		quotas.Go(func() (err error) {
			project := projects[t.ProjectID]
			if project.Quota, err = r.quota(reading, t.ProjectID); err != nil {
				err = fmt.Errorf("quota of project %q: %w", t.Project+"@"+t.Domain, err)
			}
			if gophercloud.ResponseCodeIs(err, http.StatusUnauthorized) ||
				gophercloud.ResponseCodeIs(err, http.StatusForbidden) {
				err = fmt.Errorf("%w\n"+
					"%s may not read it: openstack role add --user %s --user-domain %s --domain %s --inherited reader",
					err, r.Username, r.Username, r.UserDomain, project.DomainID)
			}
			return err
		})
	}
	return quotas.Wait()
}

// usedProjects are those on which somebody has a role, by ID. Disabled users count: what they left running runs on.
func usedProjects(w tenancy.World) map[string]bool {
	w.Users = slices.Clone(w.Users)
	for i := range w.Users {
		w.Users[i].Enabled = true
	}
	used := map[string]bool{}
	for _, g := range w.Effective() {
		used[g.ProjectID] = true
	}
	return used
}

// quota is read with a token for the project, as Nova and Cinder tell one project nothing of others.
func (r *reader) quota(ctx context.Context, projectID string) (tenancy.Quota, error) {
	provider, err := r.authenticate(ctx,
		gophercloud.AuthOptions{TokenID: r.token, Scope: &gophercloud.AuthScope{ProjectID: projectID}})
	if err != nil {
		return tenancy.Quota{}, err
	}
	compute, err := openstack.NewComputeV2(provider, r.endpoint())
	if err != nil {
		return tenancy.Quota{}, fmt.Errorf("compute: %w", err)
	}
	nova, err := computequotas.Get(ctx, compute, projectID).Extract()
	if err != nil {
		return tenancy.Quota{}, err
	}
	volume, err := openstack.NewBlockStorageV3(provider, r.endpoint())
	if err != nil {
		return tenancy.Quota{}, fmt.Errorf("volume: %w", err)
	}
	cinder, err := volumequotas.Get(ctx, volume, projectID).Extract()
	if err != nil {
		return tenancy.Quota{}, err
	}
	return tenancy.Quota{
		Cores: int64(nova.Cores), RAM: int64(nova.RAM),
		Gigabytes: int64(cinder.Gigabytes), Volumes: int64(cinder.Volumes), Snapshots: int64(cinder.Snapshots),
	}, nil
}
