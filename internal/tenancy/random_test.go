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

// roleNames are of roles that tokens may have.
var roleNames = []string{"reader", "member", "admin", "site:admin"}

// random is a World in which anything may be: names that are alike or hostile, roles and projects that go round
// in circles, and assignments of what is not there.
func random(r *rand.Rand) World {
	var w World
	one := func(list ...string) string { return list[r.IntN(len(list))] }
	mostly := func() bool { return r.IntN(6) > 0 }
	some := func(kind string, n int) []string {
		var ids []string
		for i := range n {
			ids = append(ids, fmt.Sprintf("%032x", r.Uint64())[8:]+fmt.Sprintf("%08d", i))
		}
		return append(ids, kind+"-unknown")
	}
	// half of all IDs begin alike
	domains, projects, users, groups, roles := some("d", 3), some("p", 8), some("u", 8), some("g", 3), some("r", 6)
	name := func() string {
		return one("shop", "Shop", "shop-d0", "kube-system", "default", "system:masters", "магазин", "a@b", "*", "", "x\n\"y",
			strings.Repeat("long", 70))
	}
	for i, id := range domains[:3] {
		w.Domains = append(w.Domains, Domain{id, fmt.Sprintf("d%d", i), mostly()})
	}
	quota := func() int64 { return r.Int64N(20) + Unlimited }
	for _, id := range projects[:8] {
		w.Projects = append(w.Projects, Project{
			id, name(), one(domains...), one(append(projects, domains...)...), mostly(),
			Quota{quota(), quota(), quota(), quota(), quota()},
		})
	}
	for _, id := range users[:8] {
		w.Users = append(w.Users, User{id, name(), one(domains...), mostly()})
	}
	for _, id := range groups[:3] {
		w.Groups = append(w.Groups, UserGroup{id, name(), one(domains...), []string{one(users...), one(users...)}})
	}
	for i, id := range roles[:6] {
		role := Role{ID: id, Name: append(roleNames, "reader", "auditor")[i]}
		if i > 3 {
			role.DomainID = one(domains...)
		}
		w.Roles = append(w.Roles, role)
	}
	for range r.IntN(6) {
		w.ImpliedRoles = append(w.ImpliedRoles, ImpliedRole{one(roles...), one(roles...)})
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
		w.Assignments = append(w.Assignments, a)
	}
	return w
}

// holds tells whether the user has the role on the project: the definition, question by question, and no more clever.
func holds(w World, user, project, role string) bool {
	enabled := func(domain string) bool {
		return slices.ContainsFunc(w.Domains, func(d Domain) bool { return d.ID == domain && d.Enabled })
	}
	if !slices.ContainsFunc(w.Users, func(u User) bool { return u.ID == user && u.Enabled && enabled(u.DomainID) }) ||
		!slices.ContainsFunc(w.Projects,
			func(p Project) bool { return p.ID == project && p.Enabled && enabled(p.DomainID) }) {
		return false
	}
	within := func(target string) bool { // not more than as deep as there are projects
		at := project
		for range w.Projects {
			i := slices.IndexFunc(w.Projects, func(p Project) bool { return p.ID == at })
			if i < 0 {
				return false
			}
			if at = w.Projects[i].ParentID; at == target && target != project {
				return true
			}
		}
		return false
	}
	ofDomain := func(domain string) bool {
		return slices.ContainsFunc(w.Projects, func(p Project) bool { return p.ID == project && p.DomainID == domain })
	}
	gives := func(id string) bool {
		if !slices.ContainsFunc(w.Roles, func(r Role) bool { return r.ID == id }) {
			return false
		}
		reached := []string{id}
		for range w.Roles {
			for _, i := range w.ImpliedRoles {
				if slices.Contains(reached, i.Prior) {
					reached = append(reached, i.Implied)
				}
			}
		}
		return slices.ContainsFunc(w.Roles,
			func(r Role) bool { return r.Name == role && r.DomainID == "" && slices.Contains(reached, r.ID) })
	}
	return slices.ContainsFunc(w.Assignments, func(a Assignment) bool {
		who := a.UserID == user ||
			slices.ContainsFunc(w.Groups, func(g UserGroup) bool { return g.ID == a.GroupID && slices.Contains(g.Users, user) })
		where := !a.Inherited && a.ProjectID == project || a.Inherited && a.ProjectID != "" && within(a.ProjectID) ||
			a.Inherited && a.DomainID != "" && (ofDomain(a.DomainID) || within(a.DomainID))
		return who && where && gives(a.RoleID)
	})
}

// token is what somebody may show to the API server, and the only namespace that it may open.
type token struct {
	User      string   `json:"user"`
	Groups    []string `json:"groups"`
	Namespace string   `json:"namespace"` // of its project; empty where that has none
	Access    Access   `json:"access"`
}

// tokens are for each project and user: with all roles that they have there and with any fewer, as application
// credentials have, and one with all roles that there are, as they might have had before they lost some.
func tokens(w World, s Settings, plan Plan) []token {
	namespaces := map[string]string{}
	for _, t := range plan.Tenants {
		namespaces[t.ProjectID] = t.Namespace
	}
	var out []token
	for _, p := range w.Projects {
		for _, u := range w.Users {
			held := map[string]bool{}
			for _, role := range roleNames {
				held[role] = holds(w, u.ID, p.ID, role)
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
	if slices.Index(accesses, b) > slices.Index(accesses, a) {
		return b
	}
	return a
}

// opens is what the plan gives a token, by the namespace.
func (p Plan) opens(t token) map[string]Access {
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

// shuffle is the same world, told in another order.
func shuffle(r *rand.Rand, w World) World {
	return World{
		shuffled(r, w.Domains), shuffled(r, w.Projects), shuffled(r, w.Users), shuffled(r, w.Groups), shuffled(r, w.Roles),
		shuffled(r, w.ImpliedRoles), shuffled(r, w.Assignments),
	}
}

func shuffled[T any](r *rand.Rand, list []T) []T {
	list = slices.Clone(list)
	r.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	return list
}

// TestRandomWorlds plans worlds, and plans again when they have changed. With RANDOM_WORLDS=FOLDER it writes some there
// in which access differs, for Kubernetes' own authorizers to judge (hack/toolchain/kubernetes).
func TestRandomWorlds(t *testing.T) {
	folder := os.Getenv("RANDOM_WORLDS")
	granted, fewer, gone, written := 0, 0, 0, 0
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 0))
		w, s := random(r), settings()
		if seed%2 == 1 {
			s.Roles = map[string]Access{"member": View, "site:admin": Admin}
			s.Exclude = []string{w.Projects[0].ID}
			s.OnProjectDelete = DeleteNamespace
		}
		judge := func(w World, plan Plan) []token {
			tokens := tokens(w, s, plan)
			best := map[string]Access{}
			for _, token := range tokens {
				want := map[string]Access{}
				if token.Access != "" {
					want[token.Namespace] = token.Access
					granted++
				}
				if got := plan.opens(token); !maps.Equal(got, want) {
					t.Errorf("seed %d: %v opens %v, not %v", seed, token, got, want)
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
		plan, err := NewPlan(w, s, nil)
		require.NoError(t, err)
		judged := judge(w, plan)

		seen := map[string]bool{}
		var existing []corev1.Namespace
		for _, tenant := range plan.Tenants {
			assert.Empty(t, validation.IsDNS1123Label(tenant.Namespace))
			assert.False(t, seen[tenant.Namespace], "one namespace, one project")
			seen[tenant.Namespace] = true
			existing = append(existing, *tenant.namespace())
		}

		again, err := NewPlan(shuffle(r, w), s, nil)
		require.NoError(t, err)
		assert.Equal(t, plan, again, "the order does not matter")
		after, err := NewPlan(w, s, shuffled(r, existing))
		require.NoError(t, err)
		assert.Equal(t, plan, after, "what is there already is planned again")

		// another world with some of the same projects: each is where it was
		changed := random(r)
		changed.Projects = append(changed.Projects, w.Projects[:4]...)
		later, err := NewPlan(changed, s, existing)
		require.NoError(t, err)
		judge(changed, later)
		ids := map[string]string{}
		for _, tenant := range slices.Concat(later.Tenants, later.Gone) {
			assert.NotContains(t, ids, tenant.Namespace, "one namespace, one project")
			ids[tenant.Namespace] = tenant.ProjectID
		}
		for _, n := range existing {
			assert.Equal(t, n.Labels[ProjectLabel], ids[n.Name])
		}
		for _, tenant := range later.Gone {
			gone++
			assert.False(t, slices.ContainsFunc(changed.Projects, func(p Project) bool { return p.ID == tenant.ProjectID }))
		}

		kinds := map[Access]bool{}
		for _, token := range judged {
			kinds[token.Access] = true
		}
		if folder != "" && len(kinds) > 2 && written < 6 {
			written++
			byABAC := s
			byABAC.Authorizer = ABAC
			abac, err := NewPlan(w, byABAC, nil)
			require.NoError(t, err)
			policy, err := abac.Policy()
			require.NoError(t, err)
			nothing := 0
			text, err := json.Marshal(slices.DeleteFunc(judged, func(t token) bool {
				if t.Access == "" {
					nothing++
				}
				return t.Access == "" && nothing%8 != 0 // they are many, and alike
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
	assert.Greater(t, min(granted, fewer, gone), 300, "or nothing has been looked at")
}
