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

// parallel is how many requests are under way at a time.
const parallel = 8

// project as Keystone lists it. Whoever may change one may write on it whatever they like, such as a quota.
type project struct {
	tenancy.Project
	Quota any `json:"quota"`
}

// group likewise.
type group struct {
	tenancy.UserGroup
	Users any `json:"users"`
}

// user likewise. An LDAP server may not know whether its users are enabled: to Keystone they then are.
type user struct {
	tenancy.User
	Enabled *bool `json:"enabled"`
}

// inference is what a role implies.
type inference struct {
	Prior   tenancy.Role   `json:"prior_role"`
	Implies []tenancy.Role `json:"implies"`
}

type reference struct {
	ID string `json:"id"`
}

// assignment is one of a role: on a project, a domain or, where neither is set, the system.
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

// world is what Keystone says to who may read all of it: all, or an error. The reader itself is nobody's member, and
// groups without a role are nothing to anybody. Quotas are not in it.
func (r *reader) world(ctx context.Context) (tenancy.World, error) {
	var w tenancy.World
	var projects []project
	var inferences []inference
	var assignments []assignment
	lists, listing := errgroup.WithContext(ctx)
	lists.SetLimit(parallel)
	collect(lists, listing, r.identity, &w.Domains, "domains", "domains")
	collect(lists, listing, r.identity, &projects, "projects", "projects")
	collect(lists, listing, r.identity, &w.Roles, "roles", "roles")
	collect(lists, listing, r.identity, &inferences, "role_inferences", "role_inferences")
	collect(lists, listing, r.identity, &assignments, "role_assignments", "role_assignments")
	if err := lists.Wait(); err != nil {
		return w, err
	}
	for _, p := range projects {
		w.Projects = append(w.Projects, p.Project)
	}
	for _, i := range inferences {
		for _, implied := range i.Implies {
			w.ImpliedRoles = append(w.ImpliedRoles, tenancy.ImpliedRole{Prior: i.Prior.ID, Implied: implied.ID})
		}
	}
	withRole := map[string]bool{}
	for _, a := range assignments {
		if a.Scope.Project.ID+a.Scope.Domain.ID == "" || a.User.ID == r.userID {
			continue
		}
		withRole[a.Group.ID] = true
		w.Assignments = append(w.Assignments, tenancy.Assignment{
			RoleID: a.Role.ID, UserID: a.User.ID, GroupID: a.Group.ID,
			ProjectID: a.Scope.Project.ID, DomainID: a.Scope.Domain.ID, Inherited: a.Scope.InheritedTo == "projects",
		})
	}

	// Keystone asks an LDAP server for its users only where it is asked for those of the server's domain.
	users, groups, roles := make([][]user, len(w.Domains)), make([][]group, len(w.Domains)), make([][]tenancy.Role,
		len(w.Domains))
	lists, listing = errgroup.WithContext(ctx)
	lists.SetLimit(parallel)
	for i, d := range w.Domains {
		of := "?domain_id=" + url.QueryEscape(d.ID)
		collect(lists, listing, r.identity, &users[i], "users"+of, "users")
		collect(lists, listing, r.identity, &groups[i], "groups"+of, "groups")
		collect(lists, listing, r.identity, &roles[i], "roles"+of, "roles")
	}
	if err := lists.Wait(); err != nil {
		return w, err
	}
	for _, u := range slices.Concat(users...) {
		u.User.Enabled = u.Enabled == nil || *u.Enabled
		w.Users = append(w.Users, u.User)
	}
	w.Roles = slices.Concat(append([][]tenancy.Role{w.Roles}, roles...)...)
	for _, g := range slices.Concat(groups...) {
		if withRole[g.ID] {
			w.Groups = append(w.Groups, g.UserGroup)
		}
	}

	members := make([][]user, len(w.Groups))
	lists, listing = errgroup.WithContext(ctx)
	lists.SetLimit(parallel)
	for i, g := range w.Groups {
		collect(lists, listing, r.identity, &members[i], "groups/"+url.PathEscape(g.ID)+"/users", "users")
	}
	err := lists.Wait()
	for i := range w.Groups {
		for _, u := range members[i] {
			if u.ID != r.userID {
				w.Groups[i].Users = append(w.Groups[i].Users, u.ID)
			}
		}
	}
	return w, err
}

// collect lists into *all beside others.
func collect[T any](g *errgroup.Group, ctx context.Context, keystone *gophercloud.ServiceClient, all *[]T,
	path, key string) {
	g.Go(func() (err error) {
		if *all, err = list[T](ctx, keystone, path, key); err != nil {
			return fmt.Errorf("Keystone's list of %s: %w", path, err)
		}
		return nil
	})
}

// list is all that Keystone lists at the path, on all pages. It is not package pages' to do: that takes a list which
// Keystone has cut off for a whole one.
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
			if page[name] == nil && name != key { // what Keystone does not always say
				continue
			}
			// with respect to case, as "ID" is not "id" but what somebody wrote there
			if err := kjson.UnmarshalCaseSensitivePreserveInts(page[name], into); err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
		}
		all = append(all, items...)
		if links.Next == "" {
			if truncated {
				return nil, fmt.Errorf("cut off after %d: list_limit in keystone.conf must be higher, or not be set", len(all))
			}
			return all, nil
		}
		next, err := url.Parse(links.Next)
		if err != nil {
			return nil, err
		}
		// nothing but the query: behind a proxy, Keystone may not know its own address
		if query = next.RawQuery; read[query] {
			return nil, fmt.Errorf("page %s comes after itself", links.Next)
		}
	}
}

// isDeleted tells whether Keystone itself says that it has no such project: a proxy's 404 is no answer.
func (r *reader) isDeleted(ctx context.Context, projectID string) (bool, error) {
	_, err := r.identity.Get(ctx, r.identity.ServiceURL("projects", url.PathEscape(projectID)), nil, nil)
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
