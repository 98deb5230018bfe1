package tenantsync

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/gophercloud/gophercloud/v2"
	"golang.org/x/sync/errgroup"
	kjson "sigs.k8s.io/json"

	"kubernetes-openstack/internal/tenancy"
)

// maxParallel is the maximum number of parallel requests.
const maxParallel = 8

// project is a project in Keystone's list. quota may have any type, because Keystone stores unknown properties.
type project struct {
	tenancy.Project
	Quota any `json:"quota"`
}

// group is a group in Keystone's list. users may have any type, because Keystone stores unknown properties.
type group struct {
	tenancy.UserGroup
	Users any `json:"users"`
}

// user is a user in Keystone's list. Enabled may be missing for an LDAP user. Keystone treats such a user as enabled.
type user struct {
	tenancy.User
	Enabled *bool `json:"enabled"`
}

// inference lists the roles that a role implies.
type inference struct {
	Prior   tenancy.Role   `json:"prior_role"`
	Implies []tenancy.Role `json:"implies"`
}

type reference struct {
	ID string `json:"id"`
}

// assignment is a role assignment on a project or a domain. If neither is set, it is on the system.
type assignment struct {
	Role  reference `json:"role"`
	User  reference `json:"user"`
	Group reference `json:"group"`
	Scope struct {
		Project     reference `json:"project"`
		Domain      reference `json:"domain"`
		InheritedTo string    `json:"OS-INHERIT:inherited_to"`
	} `json:"scope"`
}

// snapshot returns the state of Keystone without quotas. It returns an error if it cannot read all lists. It leaves out
// the reader's own assignments and memberships, and groups without a role.
func (s *session) snapshot(ctx context.Context) (tenancy.KeystoneSnapshot, error) {
	var snapshot tenancy.KeystoneSnapshot
	var projects []project
	var inferences []inference
	var assignments []assignment
	lists, listing := errgroup.WithContext(ctx)
	lists.SetLimit(maxParallel)
	collect(lists, listing, s.identity, &snapshot.Domains, "domains", "domains")
	collect(lists, listing, s.identity, &projects, "projects", "projects")
	collect(lists, listing, s.identity, &snapshot.Roles, "roles", "roles")
	collect(lists, listing, s.identity, &inferences, "role_inferences", "role_inferences")
	collect(lists, listing, s.identity, &assignments, "role_assignments", "role_assignments")
	if err := lists.Wait(); err != nil {
		return snapshot, err
	}
	for _, p := range projects {
		snapshot.Projects = append(snapshot.Projects, p.Project)
	}
	for _, i := range inferences {
		for _, implied := range i.Implies {
			snapshot.ImpliedRoles = append(snapshot.ImpliedRoles, tenancy.ImpliedRole{Prior: i.Prior.ID, Implied: implied.ID})
		}
	}
	withRole := map[string]bool{}
	for _, a := range assignments {
		if a.Scope.Project.ID+a.Scope.Domain.ID == "" || a.User.ID == s.userID {
			continue
		}
		withRole[a.Group.ID] = true
		snapshot.Assignments = append(snapshot.Assignments, tenancy.Assignment{
			RoleID: a.Role.ID, UserID: a.User.ID, GroupID: a.Group.ID,
			ProjectID: a.Scope.Project.ID, DomainID: a.Scope.Domain.ID, Inherited: a.Scope.InheritedTo == "projects",
		})
	}

	// Keystone requests users from an LDAP server only in a list for the server's domain.
	n := len(snapshot.Domains)
	users, groups, roles := make([][]user, n), make([][]group, n), make([][]tenancy.Role, n)
	lists, listing = errgroup.WithContext(ctx)
	lists.SetLimit(maxParallel)
	for i, d := range snapshot.Domains {
		query := "?domain_id=" + url.QueryEscape(d.ID)
		collect(lists, listing, s.identity, &users[i], "users"+query, "users")
		collect(lists, listing, s.identity, &groups[i], "groups"+query, "groups")
		collect(lists, listing, s.identity, &roles[i], "roles"+query, "roles")
	}
	if err := lists.Wait(); err != nil {
		return snapshot, err
	}
	for _, u := range slices.Concat(users...) {
		u.User.Enabled = u.Enabled == nil || *u.Enabled
		snapshot.Users = append(snapshot.Users, u.User)
	}
	snapshot.Roles = slices.Concat(append([][]tenancy.Role{snapshot.Roles}, roles...)...)
	for _, g := range slices.Concat(groups...) {
		if withRole[g.ID] {
			snapshot.Groups = append(snapshot.Groups, g.UserGroup)
		}
	}

	members := make([][]user, len(snapshot.Groups))
	lists, listing = errgroup.WithContext(ctx)
	lists.SetLimit(maxParallel)
	for i, g := range snapshot.Groups {
		collect(lists, listing, s.identity, &members[i], "groups/"+url.PathEscape(g.ID)+"/users", "users")
	}
	err := lists.Wait()
	for i := range snapshot.Groups {
		for _, u := range members[i] {
			if u.ID != s.userID {
				snapshot.Groups[i].Users = append(snapshot.Groups[i].Users, u.ID)
			}
		}
	}
	return snapshot, err
}

// collect lists into *all, in a goroutine of g.
func collect[T any](g *errgroup.Group, ctx context.Context, keystone *gophercloud.ServiceClient, all *[]T,
	path, key string) {
	g.Go(func() (err error) {
		if *all, err = list[T](ctx, keystone, path, key); err != nil {
			return fmt.Errorf("list %s in Keystone: %w", path, err)
		}
		return nil
	})
}

// list returns the items of all pages of a list. It does not use gophercloud's pagination, because that ignores that
// Keystone truncated a list.
func list[T any](ctx context.Context, keystone *gophercloud.ServiceClient, path, key string) ([]T, error) {
	path, query, _ := strings.Cut(path, "?")
	var all []T
	for read := map[string]bool{}; ; {
		var page map[string]json.RawMessage
		if _, err := keystone.Get(ctx, keystone.ServiceURL(path)+"?"+query, &page, nil); err != nil {
			return nil, err
		}
		read[query] = true
		var items []T
		var links struct {
			Next string `json:"next"`
		}
		var truncated bool
		for name, into := range map[string]any{key: &items, "links": &links, "truncated": &truncated} {
			if page[name] == nil && name != key { // optional in Keystone's responses
				continue
			}
			// case-sensitive, because a user may have stored a property ID beside id
			if err := kjson.UnmarshalCaseSensitivePreserveInts(page[name], into); err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
		}
		all = append(all, items...)
		if links.Next == "" {
			if truncated {
				return nil, fmt.Errorf("truncated after %d items: raise or unset list_limit in keystone.conf", len(all))
			}
			return all, nil
		}
		next, err := url.Parse(links.Next)
		if err != nil {
			return nil, err
		}
		// only the query: behind a proxy, the link may contain a wrong host
		if query = next.RawQuery; read[query] {
			return nil, fmt.Errorf("the next page %s was already read", links.Next)
		}
	}
}

// isDeleted reports whether Keystone responds that the project does not exist. A 404 of a proxy is an error.
func (s *session) isDeleted(ctx context.Context, projectID string) (bool, error) {
	_, err := s.identity.Get(ctx, s.identity.ServiceURL("projects", url.PathEscape(projectID)), nil, nil)
	var refused gophercloud.ErrUnexpectedResponseCode
	if !errors.As(err, &refused) || refused.Actual != http.StatusNotFound {
		return false, err
	}
	var body struct {
		Error struct {
			Code    int
			Message string
		}
	}
	if json.Unmarshal(refused.Body, &body) != nil || body.Error.Code != http.StatusNotFound ||
		!strings.Contains(body.Error.Message, projectID) {
		return false, err
	}
	return true, nil
}
