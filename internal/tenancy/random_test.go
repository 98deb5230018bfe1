package tenancy

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
)

// roleNames are the names of the roles that tokens may contain.
var roleNames = []string{"reader", "member", "admin", "site:admin"}

// random returns a snapshot that may have similar or malicious names, circular roles and projects, and assignments with
// unknown IDs.
func random(r *rand.Rand) KeystoneSnapshot {
	var k KeystoneSnapshot
	one := func(list ...string) string { return list[r.IntN(len(list))] }
	mostly := func() bool { return r.IntN(6) > 0 }
	some := func(kind string, n int) []string {
		var ids []string
		for i := range n {
			ids = append(ids, fmt.Sprintf("%032x", r.Uint64())[8:]+fmt.Sprintf("%08d", i))
		}
		return append(ids, kind+"-unknown")
	}
	// half of all IDs have a common prefix
	domains, projects, users, groups, roles := some("d", 3), some("p", 8), some("u", 8), some("g", 3), some("r", 6)
	name := func() string {
		return one("shop", "Shop", "shop-d0", "kube-system", "default", "system:masters", "магазин", "a@b", "*", "", "x\n\"y",
			strings.Repeat("long", 70))
	}
	for i, id := range domains[:3] {
		k.Domains = append(k.Domains, Domain{id, fmt.Sprintf("d%d", i), mostly()})
	}
	quota := func() int64 { return r.Int64N(20) + Unlimited }
	for _, id := range projects[:8] {
		k.Projects = append(k.Projects, Project{
			id, name(), one(domains...), one(append(projects, domains...)...), mostly(),
			Quota{quota(), quota(), quota(), quota(), quota()},
		})
	}
	for _, id := range users[:8] {
		k.Users = append(k.Users, User{id, name(), one(domains...), mostly()})
	}
	for _, id := range groups[:3] {
		k.Groups = append(k.Groups, UserGroup{id, name(), one(domains...), []string{one(users...), one(users...)}})
	}
	for i, id := range roles[:6] {
		role := Role{ID: id, Name: append(roleNames, "reader", "auditor")[i]}
		if i > 3 {
			role.DomainID = one(domains...)
		}
		k.Roles = append(k.Roles, role)
	}
	for range r.IntN(6) {
		k.ImpliedRoles = append(k.ImpliedRoles, ImpliedRole{one(roles...), one(roles...)})
	}
	for range 1 + r.IntN(24) {
		a := Assignment{RoleID: one(roles...), Inherited: r.IntN(2) == 0}
		if mostly() {
			a.UserID = one(users...)
		} else {
			a.GroupID = one(groups...)
		}
		if r.IntN(3) > 0 {
			a.ProjectID = one(projects...)
		} else {
			a.DomainID = one(domains...)
		}
		k.Assignments = append(k.Assignments, a)
	}
	return k
}

// holds reports whether the user has the role on the project. It is a simple implementation of the definition, to
// compare with.
func holds(k KeystoneSnapshot, user, project, role string) bool {
	enabled := func(domain string) bool {
		return slices.ContainsFunc(k.Domains, func(d Domain) bool { return d.ID == domain && d.Enabled })
	}
	if !slices.ContainsFunc(k.Users, func(u User) bool { return u.ID == user && u.Enabled && enabled(u.DomainID) }) ||
		!slices.ContainsFunc(k.Projects,
			func(p Project) bool { return p.ID == project && p.Enabled && enabled(p.DomainID) }) {
		return false
	}
	within := func(target string) bool { // the number of projects limits the depth
		at := project
		for range k.Projects {
			i := slices.IndexFunc(k.Projects, func(p Project) bool { return p.ID == at })
			if i < 0 {
				return false
			}
			if at = k.Projects[i].ParentID; at == target && target != project {
				return true
			}
		}
		return false
	}
	ofDomain := func(domain string) bool {
		return slices.ContainsFunc(k.Projects, func(p Project) bool { return p.ID == project && p.DomainID == domain })
	}
	gives := func(id string) bool {
		if !slices.ContainsFunc(k.Roles, func(r Role) bool { return r.ID == id }) {
			return false
		}
		reached := []string{id}
		for range k.Roles {
			for _, i := range k.ImpliedRoles {
				if slices.Contains(reached, i.Prior) {
					reached = append(reached, i.Implied)
				}
			}
		}
		return slices.ContainsFunc(k.Roles,
			func(r Role) bool { return r.Name == role && r.DomainID == "" && slices.Contains(reached, r.ID) })
	}
	return slices.ContainsFunc(k.Assignments, func(a Assignment) bool {
		assigned := a.UserID == user ||
			slices.ContainsFunc(k.Groups, func(g UserGroup) bool { return g.ID == a.GroupID && slices.Contains(g.Users, user) })
		applies := !a.Inherited && a.ProjectID == project || a.Inherited && a.ProjectID != "" && within(a.ProjectID) ||
			a.Inherited && a.DomainID != "" && (ofDomain(a.DomainID) || within(a.DomainID))
		return assigned && applies && gives(a.RoleID)
	})
}

// token is the user of a Keystone token, and the only namespace to which the token may give access.
type token struct {
	User      string   `json:"user"`
	Groups    []string `json:"groups"`
	Namespace string   `json:"namespace"` // of its project; empty if the project has none
	Access    Access   `json:"access"`
}

// tokens returns tokens of each user for each project. They contain every subset of the user's roles, like application
// credentials. One more token contains all roles, like a token from before the user lost some of them.
func tokens(k KeystoneSnapshot, s Settings, plan Plan) []token {
	namespaces := map[string]string{}
	for _, t := range plan.Tenants {
		namespaces[t.ProjectID] = t.Namespace
	}
	var out []token
	for _, p := range k.Projects {
		for _, u := range k.Users {
			held := map[string]bool{}
			for _, role := range roleNames {
				held[role] = holds(k, u.ID, p.ID, role)
			}
			all := 1<<len(roleNames) - 1
			for subset := 1; subset <= all; subset++ {
				t, lost := token{User: Username(u.ID), Namespace: namespaces[p.ID]}, false
				for i, role := range roleNames {
					if subset>>i&1 == 0 {
						continue
					}
					t.Groups = append(t.Groups, Group(p.ID, u.ID, role))
					if !held[role] {
						lost = true
					} else if t.Namespace != "" && !slices.Contains(s.Exclude, p.ID) {
						t.Access = most(t.Access, s.roles()[role])
					}
				}
				if !lost || subset == all {
					out = append(out, t)
				}
			}
		}
	}
	return out
}

func most(a, b Access) Access {
	if slices.Index(accessLevels, b) > slices.Index(accessLevels, a) {
		return b
	}
	return a
}

// accessOf returns the access that the plan gives to a token, by namespace.
func (p Plan) accessOf(t token) map[string]Access {
	out := map[string]Access{}
	for _, tenant := range p.Tenants {
		for _, m := range tenant.Members {
			if slices.Contains(t.Groups, tenant.group(m)) {
				out[tenant.Namespace] = most(out[tenant.Namespace], m.Access)
			}
		}
	}
	return out
}

// shuffle returns k with all lists in another order.
func shuffle(r *rand.Rand, k KeystoneSnapshot) KeystoneSnapshot {
	return KeystoneSnapshot{
		shuffled(r, k.Domains), shuffled(r, k.Projects), shuffled(r, k.Users), shuffled(r, k.Groups), shuffled(r, k.Roles),
		shuffled(r, k.ImpliedRoles), shuffled(r, k.Assignments),
	}
}

func shuffled[T any](r *rand.Rand, list []T) []T {
	list = slices.Clone(list)
	r.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	return list
}

// TestRandomSnapshots plans random snapshots, and plans them again after changes. If RANDOM_SNAPSHOTS is set, it writes
// some plans with different access levels to this folder. hack/toolchain/kubernetes checks them with Kubernetes' own
// authorizers.
func TestRandomSnapshots(t *testing.T) {
	folder := os.Getenv("RANDOM_SNAPSHOTS")
	granted, fewer, toDelete, written := 0, 0, 0, 0
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 0))
		k, s := random(r), settings()
		if seed%2 == 1 {
			s.Roles = map[string]Access{"member": View, "site:admin": Admin}
			s.Exclude = []string{k.Projects[0].ID}
			s.OnProjectDelete = DeleteNamespace
		}
		check := func(k KeystoneSnapshot, plan Plan) []token {
			tokens := tokens(k, s, plan)
			best := map[string]Access{}
			for _, token := range tokens {
				want := map[string]Access{}
				if token.Access != "" {
					want[token.Namespace] = token.Access
					granted++
				}
				if got := plan.accessOf(token); !maps.Equal(got, want) {
					t.Errorf("seed %d: %v gives access to %v, not %v", seed, token, got, want)
				}
				best[token.User+token.Namespace] = most(best[token.User+token.Namespace], token.Access)
			}
			for _, token := range tokens {
				if token.Access != best[token.User+token.Namespace] {
					fewer++
				}
			}
			return tokens
		}
		plan, err := NewPlan(k, s, nil)
		require.NoError(t, err)
		checked := check(k, plan)

		seen := map[string]bool{}
		var existing []corev1.Namespace
		for _, tenant := range plan.Tenants {
			assert.Empty(t, validation.IsDNS1123Label(tenant.Namespace))
			assert.False(t, seen[tenant.Namespace], "one namespace, one project")
			seen[tenant.Namespace] = true
			existing = append(existing, *tenant.namespace())
		}

		reordered, err := NewPlan(shuffle(r, k), s, nil)
		require.NoError(t, err)
		assert.Equal(t, plan, reordered, "the order does not matter")
		after, err := NewPlan(k, s, shuffled(r, existing))
		require.NoError(t, err)
		assert.Equal(t, plan, after, "a second plan is the same")

		// another snapshot with some of the same projects: each keeps its namespace
		changed := random(r)
		changed.Projects = append(changed.Projects, k.Projects[:4]...)
		later, err := NewPlan(changed, s, existing)
		require.NoError(t, err)
		check(changed, later)
		ids := map[string]string{}
		for _, tenant := range slices.Concat(later.Tenants, later.ToDelete) {
			assert.NotContains(t, ids, tenant.Namespace, "one namespace, one project")
			ids[tenant.Namespace] = tenant.ProjectID
		}
		for _, n := range existing {
			assert.Equal(t, n.Labels[ProjectLabel], ids[n.Name])
		}
		for _, tenant := range later.ToDelete {
			toDelete++
			assert.False(t, slices.ContainsFunc(changed.Projects, func(p Project) bool { return p.ID == tenant.ProjectID }))
		}

		kinds := map[Access]bool{}
		for _, token := range checked {
			kinds[token.Access] = true
		}
		if folder != "" && len(kinds) > 2 && written < 6 {
			written++
			byABAC := s
			byABAC.Authorizer = ABAC
			abac, err := NewPlan(k, byABAC, nil)
			require.NoError(t, err)
			policy, err := abac.Policy()
			require.NoError(t, err)
			withoutAccess := 0
			text, err := json.Marshal(slices.DeleteFunc(checked, func(t token) bool {
				if t.Access == "" {
					withoutAccess++
				}
				return t.Access == "" && withoutAccess%8 != 0 // these are many and similar
			}))
			require.NoError(t, err)
			for extension, content := range map[string]string{
				"policy.jsonl": string(policy), "yaml": manifest(t, plan.Objects()), "json": string(text),
			} {
				require.NoError(t, os.WriteFile(filepath.Join(folder, fmt.Sprintf("%d.%s", seed, extension)), []byte(content),
					0o644))
			}
		}
	}
	assert.Greater(t, min(granted, fewer, toDelete), 300, "the snapshots must contain all cases")
}
