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

// addQuotas reads the quotas of the projects that have a namespace and at least one role assignment. The quotas of
// other projects stay 0.
func (s *session) addQuotas(ctx context.Context, snapshot tenancy.KeystoneSnapshot, settings tenancy.Settings) error {
	plan, err := tenancy.NewPlan(snapshot, settings, nil)
	if err != nil {
		return err
	}
	projects := map[string]*tenancy.Project{}
	for i := range snapshot.Projects {
		projects[snapshot.Projects[i].ID] = &snapshot.Projects[i]
	}
	used := projectsWithRoles(snapshot)
	quotas, quotasCtx := errgroup.WithContext(ctx)
	quotas.SetLimit(maxParallel)
	for _, t := range plan.Tenants {
		if !used[t.ProjectID] {
			continue
		}
		quotas.Go(func() (err error) {
			project := projects[t.ProjectID]
			if project.Quota, err = s.quota(quotasCtx, t.ProjectID); err != nil {
				err = fmt.Errorf("quota of project %q: %w", t.Project+"@"+t.Domain, err)
			}
			if gophercloud.ResponseCodeIs(err, http.StatusUnauthorized) ||
				gophercloud.ResponseCodeIs(err, http.StatusForbidden) {
				err = fmt.Errorf("%w\n%s has no permission to read it, run: openstack role add "+
					"--user %s --user-domain %s --domain %s --inherited reader",
					err, s.Username, s.Username, s.UserDomain, project.DomainID)
			}
			return err
		})
	}
	return quotas.Wait()
}

// projectsWithRoles returns the IDs of the projects on which at least one user has a role. Disabled users count,
// because their pods keep running.
func projectsWithRoles(snapshot tenancy.KeystoneSnapshot) map[string]bool {
	snapshot.Users = slices.Clone(snapshot.Users)
	for i := range snapshot.Users {
		snapshot.Users[i].Enabled = true
	}
	used := map[string]bool{}
	for _, g := range snapshot.EffectiveGrants() {
		used[g.ProjectID] = true
	}
	return used
}

// quota requests the quotas with a token for the project, because Nova and Cinder show a project only its own quotas.
func (s *session) quota(ctx context.Context, projectID string) (tenancy.Quota, error) {
	provider, err := s.authenticate(ctx,
		gophercloud.AuthOptions{TokenID: s.token, Scope: &gophercloud.AuthScope{ProjectID: projectID}})
	if err != nil {
		return tenancy.Quota{}, err
	}
	compute, err := openstack.NewComputeV2(provider, s.endpoint())
	if err != nil {
		return tenancy.Quota{}, fmt.Errorf("compute: %w", err)
	}
	nova, err := computequotas.Get(ctx, compute, projectID).Extract()
	if err != nil {
		return tenancy.Quota{}, err
	}
	volume, err := openstack.NewBlockStorageV3(provider, s.endpoint())
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
