// Package tenancy_test checks the plans of package tenancy with Kubernetes' own code: the ABAC and RBAC authorizers,
// the admission policy, and the validation of every object.
package tenancy_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apiserver/pkg/admission"
	plugincel "k8s.io/apiserver/pkg/admission/plugin/cel"
	"k8s.io/apiserver/pkg/admission/plugin/policy/validating"
	"k8s.io/apiserver/pkg/admission/plugin/webhook/matchconditions"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/cel/environment"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
	admissionapi "k8s.io/kubernetes/pkg/apis/admissionregistration"
	_ "k8s.io/kubernetes/pkg/apis/admissionregistration/install"
	admissionvalidation "k8s.io/kubernetes/pkg/apis/admissionregistration/validation"
	coreapi "k8s.io/kubernetes/pkg/apis/core"
	_ "k8s.io/kubernetes/pkg/apis/core/install"
	corevalidation "k8s.io/kubernetes/pkg/apis/core/validation"
	networkingapi "k8s.io/kubernetes/pkg/apis/networking"
	_ "k8s.io/kubernetes/pkg/apis/networking/install"
	networkingvalidation "k8s.io/kubernetes/pkg/apis/networking/validation"
	rbacapi "k8s.io/kubernetes/pkg/apis/rbac"
	_ "k8s.io/kubernetes/pkg/apis/rbac/install"
	rbacapivalidation "k8s.io/kubernetes/pkg/apis/rbac/validation"
	"k8s.io/kubernetes/pkg/auth/authorizer/abac"
	rbacvalidation "k8s.io/kubernetes/pkg/registry/rbac/validation"
	"k8s.io/kubernetes/plugin/pkg/auth/authorizer/rbac"
	"k8s.io/kubernetes/plugin/pkg/auth/authorizer/rbac/bootstrappolicy"
	"sigs.k8s.io/yaml"
)

// repository is the folder of the module with package tenancy. This module does not require it, because it pins exactly
// the versions that machines run. So a test of package tenancy writes plans into files, and this package reads them.
const repository = "../../../.."

// plan is the plan of package tenancy for a random snapshot of Keystone.
type plan struct {
	abac       abac.PolicyList
	objects    []runtime.Object
	namespaces []string
	// tokens are the tokens with which users may authenticate.
	tokens []token
}

// token is the identity in a token for one project, with some of the user's roles. Access is the expected access to the
// namespace of this project. It may be "". The token gives no access to other namespaces.
type token struct {
	User, Namespace, Access string
	Groups                  []string
}

// user returns the identity for an authorizer.
func (t token) user() user.Info {
	return &user.DefaultInfo{Name: t.User, Groups: append([]string{user.AllAuthenticated}, t.Groups...)}
}

// accessTo returns the expected access to a namespace.
func (t token) accessTo(namespace string) string {
	if namespace != t.Namespace {
		return ""
	}
	return t.Access
}

// randomPlans returns the plans that the test of package tenancy writes.
func randomPlans(t *testing.T) []plan {
	t.Helper()
	folder := t.TempDir()
	write := exec.Command("go", "test", "-count=1", "-run=^TestRandomSnapshots$", "./internal/tenancy")
	write.Dir = repository
	write.Env = append(os.Environ(), "RANDOM_SNAPSHOTS="+folder)
	text, err := write.CombinedOutput()
	require.NoError(t, err, string(text))
	files, err := filepath.Glob(folder + "/*.json")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	var out []plan
	for _, file := range files {
		base := strings.TrimSuffix(file, ".json")
		p := plan{objects: read(t, base+".yaml")}
		p.abac, err = abac.NewFromFile(base + ".policy.jsonl")
		require.NoError(t, err)
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(text, &p.tokens))
		for _, n := range ofType[*corev1.Namespace](p.objects) {
			p.namespaces = append(p.namespaces, n.Name)
		}
		out = append(out, p)
	}
	return out
}

// rbacIn returns the RBAC authorizer for requests in a namespace. Others' RoleBindings never apply to these.
func (p plan) rbacIn(namespace string) *rbac.RBACAuthorizer {
	bindings := slices.DeleteFunc(ofType[*rbacv1.RoleBinding](p.objects),
		func(b *rbacv1.RoleBinding) bool { return b.Namespace != namespace })
	_, static := rbacvalidation.NewTestRuleResolver(nil, bindings, ofType[*rbacv1.ClusterRole](p.objects), nil)
	return rbac.New(static, static, static, static)
}

// abacOf returns the ABAC authorizer for requests of a user. The lines of other subjects never apply to these.
func (p plan) abacOf(t *testing.T, user user.Info) (lines abac.PolicyList) {
	t.Helper()
	for _, line := range p.abac {
		resources, paths, _, err := abac.PolicyList{line}.RulesFor(t.Context(), user, line.Spec.Namespace)
		require.NoError(t, err)
		if len(resources)+len(paths) > 0 {
			lines = append(lines, line)
		}
	}
	return lines
}

// ofType returns the objects of a type.
func ofType[T runtime.Object](objects []runtime.Object) []T {
	var out []T
	for _, o := range objects {
		if o, is := o.(T); is {
			out = append(out, o)
		}
	}
	return out
}

// read returns the objects of a manifest. An unknown field is an error.
func read(t *testing.T, file string) []runtime.Object {
	t.Helper()
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	decoder := serializer.NewCodecFactory(legacyscheme.Scheme, serializer.EnableStrict).UniversalDeserializer()
	var out []runtime.Object
	for document := range strings.SplitSeq(string(text), "\n---\n") {
		content, err := yaml.YAMLToJSONStrict([]byte(document))
		require.NoError(t, err)
		o, _, err := decoder.Decode(content, nil, nil)
		require.NoError(t, err, document)
		out = append(out, o)
	}
	return out
}

// request is a request for a namespaced resource.
type request struct{ group, resource, subresource, verb string }

// attributes returns the request of a user in a namespace for an authorizer.
func (r request) attributes(user user.Info, namespace string) authorizer.AttributesRecord {
	return authorizer.AttributesRecord{
		User: user, Verb: r.verb, Namespace: namespace,
		APIGroup: r.group, APIVersion: "v1", Resource: r.resource, Subresource: r.subresource, Name: "x",
		ResourceRequest: true,
	}
}

// path returns the resource in the format of RBAC rules, with the API group.
func (r request) path() string {
	return strings.TrimPrefix(r.group+"/", "/") + strings.TrimSuffix(r.resource+"/"+r.subresource, "/")
}

var (
	standardVerbs = []string{"get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"}
	specialVerbs  = []string{"impersonate", "bind", "escalate", "use", "approve", "sign"}
)

// requests returns requests with all verbs for all resources in the ClusterRoles of Kubernetes and in ours. It adds
// some subresources that no ClusterRole contains.
func requests(ours []*rbacv1.ClusterRole) []request {
	seen := map[request]bool{}
	add := func(group, path string) {
		resource, sub, _ := strings.Cut(path, "/")
		if group != "*" && resource != "*" {
			for _, verb := range slices.Concat(standardVerbs, specialVerbs) {
				seen[request{group, resource, sub, verb}] = true
			}
		}
	}
	roles := bootstrappolicy.ClusterRoles()
	for _, role := range ours {
		roles = append(roles, *role)
	}
	for _, role := range roles {
		for _, rule := range role.Rules {
			for _, group := range rule.APIGroups {
				for _, path := range rule.Resources {
					add(group, path)
				}
			}
		}
	}
	for _, path := range []string{"pods/binding", "pods/ephemeralcontainers", "pods/resize", "namespaces/finalize",
		"resourcequotas/status"} {
		add("", path)
	}
	return slices.SortedFunc(maps.Keys(seen), func(a, b request) int {
		return cmp.Or(cmp.Compare(a.group, b.group), cmp.Compare(a.resource, b.resource),
			cmp.Compare(a.subresource, b.subresource), cmp.Compare(a.verb, b.verb))
	})
}

// clusterRole returns our ClusterRole for an access.
func clusterRole(t *testing.T, p plan, access string) *rbacv1.ClusterRole {
	t.Helper()
	for _, role := range ofType[*rbacv1.ClusterRole](p.objects) {
		if role.Name == "kubernetes-openstack:tenant-"+access {
			return role
		}
	}
	require.Fail(t, "no ClusterRole", access)
	return nil
}

func TestRandomPlans(t *testing.T) {
	all := randomPlans(t)
	t.Run("objects", func(t *testing.T) { testObjects(t, all) })
	t.Run("authorizers", func(t *testing.T) { testAuthorizers(t, all) })
	t.Run("admission", func(t *testing.T) { testAdmission(t, all) })
	t.Run("roles", func(t *testing.T) { testRoles(t, all[0]) })
}

// testAuthorizers sends all requests with all tokens to both authorizers. RBAC must allow exactly the token's access,
// and nothing in the namespaces of other projects. ABAC must allow the same requests. It may allow more only as listed
// in internal/tenancy/testdata/abac-beyond-rbac.txt, which classifies each difference. An additional role never removes
// access.
func testAuthorizers(t *testing.T, plans []plan) {
	beyond := map[string]map[string][]string{} // access and classification → path → verbs
	type decision struct {                     // the indexes of the namespace and of the request
		byRBAC             bool
		namespace, request int
	}
	checked, compared := map[string]int{}, map[bool]int{}
	for _, p := range plans {
		all, admit := requests(ofType[*rbacv1.ClusterRole](p.objects)), newAdmit(t, p)
		tokens := append(p.tokens, withoutAccess(p.tokens)...)
		namespaces := append(p.namespaces, "", "default", "kube-system")
		rbacIn := map[string]*rbac.RBACAuthorizer{}
		for _, namespace := range namespaces {
			rbacIn[namespace] = p.rbacIn(namespace)
		}
		allowed := make([]map[decision]bool, len(tokens))
		for i, token := range tokens {
			allowed[i] = map[decision]bool{}
			user := token.user()
			lines := p.abacOf(t, user)
			for n, namespace := range namespaces {
				access := token.accessTo(namespace)
				checked[access]++
				byNamespace := rbacIn[namespace]
				var rules []rbacv1.PolicyRule
				if access != "" {
					rules = clusterRole(t, p, access).Rules
				}
				for index, r := range all {
					var attributes authorizer.Attributes = r.attributes(user, namespace)
					byABAC, _, err := lines.Authorize(t.Context(), attributes)
					byRBAC, _, errRBAC := byNamespace.Authorize(t.Context(), attributes)
					if err != nil || errRBAC != nil { // require.NoError would look up its callers each time
						t.Fatal(err, errRBAC)
					}
					want := rbac.RulesAllow(attributes, rules...)
					if byABAC == authorizer.DecisionAllow {
						allowed[i][decision{false, n, index}] = true
					}
					if byRBAC == authorizer.DecisionAllow {
						allowed[i][decision{true, n, index}] = true
					}
					switch {
					case want != (byRBAC == authorizer.DecisionAllow):
						t.Errorf("RBAC: allowed must be %v for %v with access %q to %q: %v", want, token, access, namespace, r)
					case want && byABAC != authorizer.DecisionAllow:
						t.Errorf("ABAC: must allow %v with access %q to %q: %v", token, access, namespace, r)
					case access == "" && byABAC == authorizer.DecisionAllow:
						t.Errorf("ABAC: must deny %v without access to %q: %v", token, namespace, r)
					case !want && byABAC == authorizer.DecisionAllow:
						class, path := classify(admit, token, r), r.path()
						if class == noOperation {
							path = "all writable resources"
						}
						add(beyond, access+", "+class, path, r.verb)
					}
				}
			}
			for _, path := range []string{"/", "/metrics", "/api", "/logs/"} {
				byABAC, _, err := p.abac.Authorize(t.Context(), authorizer.AttributesRecord{User: user, Verb: "get", Path: path})
				require.NoError(t, err)
				assert.NotEqual(t, authorizer.DecisionAllow, byABAC, path)
			}
		}
		for i, fewer := range tokens {
			for j, more := range tokens {
				if fewer.User != more.User ||
					slices.ContainsFunc(fewer.Groups, func(g string) bool { return !slices.Contains(more.Groups, g) }) {
					continue
				}
				compared[len(allowed[i]) < len(allowed[j])]++
				for d := range allowed[i] {
					if !allowed[j][d] {
						t.Errorf("by RBAC: %v: %v in %q is allowed for %v, and must be allowed for %v", d.byRBAC, all[d.request],
							namespaces[d.namespace], fewer, more)
					}
				}
			}
		}
	}
	assert.Positive(t, compared[true], "some roles must add access")
	for _, access := range []string{"", "view", "edit", "admin"} {
		assert.Positive(t, checked[access], "some tokens must have access %q", access)
	}
	golden(t, "abac-beyond-rbac.txt", table(beyond))
}

// withoutAccess returns tokens without access. Their users and groups are similar to those of the given tokens.
func withoutAccess(tokens []token) []token {
	out := []token{{User: "system:anonymous"}, {User: "*", Groups: []string{"*"}},
		{User: "keystone:", Groups: []string{"keystone:", "keystone:::"}}}
	for _, t := range tokens {
		if t.Access == "" || len(t.Groups) != 1 {
			continue
		}
		group := t.Groups[0]
		id, role := strings.TrimPrefix(group, "keystone:"), group[strings.LastIndex(group, ":"):]
		out = append(out,
			token{User: t.User}, token{User: group}, // the name of a group as a user
			token{User: t.User, Groups: []string{
				t.User, id, "keystone:" + id[1:], strings.ToUpper(group), group + ":", strings.TrimSuffix(group, role),
				"keystone" + role, t.User + role,
			}},
		)
	}
	return out
}

const noOperation = "harmless: there is no such operation"

// classify returns the reason why a request that only ABAC allows is no risk, or "NOT DENIED" if it is one.
func classify(admit admit, token token, r request) string {
	operation := map[string]admission.Operation{
		"create": admission.Create, "update": admission.Update, "patch": admission.Update, "delete": admission.Delete,
		"deletecollection": admission.Delete,
	}[r.verb]
	if slices.Contains([]string{"attach", "exec", "portforward", "proxy"}, r.subresource) {
		operation = admission.Connect // for every verb
	}
	switch {
	case r.verb == "impersonate" && r.path() == "serviceaccounts":
		return "harmless: they can also request its token"
	case slices.Contains(specialVerbs, r.verb):
		return noOperation
	case operation == "":
		return "harmless: a read returns at most the data of the resource"
	case admit(token.user(), token.Namespace, operation, r):
		return "NOT DENIED"
	}
	return "denied by admission"
}

// add adds a verb if it is not yet in the table.
func add(to map[string]map[string][]string, heading, path, verb string) {
	if to[heading] == nil {
		to[heading] = map[string][]string{}
	}
	if verbs := to[heading][path]; !slices.Contains(verbs, verb) {
		to[heading][path] = append(verbs, verb)
	}
}

// admit returns true if admission allows a request.
type admit func(user user.Info, namespace string, operation admission.Operation, r request) bool

// newAdmit returns a function that evaluates the ValidatingAdmissionPolicy of an API server with ABAC.
func newAdmit(t *testing.T, p plan) admit {
	t.Helper()
	policies := ofType[*admissionv1.ValidatingAdmissionPolicy](p.objects)
	require.Len(t, policies, 1)
	spec := policies[0].Spec
	compiler, err := plugincel.NewCompositedCompiler(environment.MustBaseEnvSet(environment.DefaultCompatibilityVersion()))
	require.NoError(t, err)
	var conditions, validations []plugincel.ExpressionAccessor
	for _, c := range spec.MatchConditions {
		conditions = append(conditions, &matchconditions.MatchCondition{Name: c.Name, Expression: c.Expression})
	}
	for _, v := range spec.Validations {
		validations = append(validations, &validating.ValidationCondition{Expression: v.Expression})
	}
	compile := func(expressions []plugincel.ExpressionAccessor) plugincel.ConditionEvaluator {
		evaluator := compiler.CompileCondition(expressions, plugincel.OptionalVariableDeclarations{HasAuthorizer: true},
			environment.StoredExpressions)
		require.Empty(t, evaluator.CompilationErrors())
		return evaluator
	}
	matcher := matchconditions.NewMatcher(compile(conditions), spec.FailurePolicy, "policy", "validate", policies[0].Name)
	validator := validating.NewValidator(compile(validations), matcher, compile(nil), compile(nil), spec.FailurePolicy,
		nil)
	return func(user user.Info, namespace string, operation admission.Operation, r request) bool {
		resource := schema.GroupVersionResource{Group: r.group, Version: "v1", Resource: r.resource}
		attributes := admission.NewAttributesRecord(nil, nil, schema.GroupVersionKind{}, namespace, "x", resource,
			r.subresource, operation, nil, false, user)
		result := validator.Validate(t.Context(), resource, &admission.VersionedAttributes{Attributes: attributes}, nil, nil,
			celconfig.RuntimeCELCostBudget, p.abac)
		for _, decision := range result.Decisions {
			require.NotEqual(t, validating.EvalError, decision.Evaluation, decision.Message)
			if decision.Action == validating.ActionDeny {
				return false
			}
		}
		return true
	}
}

// testAdmission checks that admission allows the same requests as RBAC, and does not restrict other users.
func testAdmission(t *testing.T, plans []plan) {
	checked := map[bool]int{}
	for _, p := range plans {
		admit := newAdmit(t, p)
		for _, token := range p.tokens {
			if token.Access == "" {
				continue
			}
			edits, tenant, namespace := token.Access != "view", token.user(), token.Namespace
			checked[edits]++
			assert.Equal(t, edits,
				admit(tenant, namespace, admission.Connect, request{resource: "pods", subresource: "exec"}), token)
			assert.Equal(t, edits,
				admit(tenant, namespace, admission.Connect, request{resource: "services", subresource: "proxy"}), token)
			assert.True(t, admit(tenant, namespace, admission.Create, request{resource: "pods", subresource: "eviction"}))
			assert.True(t, admit(tenant, namespace, admission.Update,
				request{group: "apps", resource: "deployments", subresource: "scale"}))
			assert.True(t, admit(tenant, namespace, admission.Update, request{resource: "services"}))
			assert.False(t, admit(tenant, namespace, admission.Update, request{resource: "services", subresource: "status"}))
			assert.False(t, admit(tenant, namespace, admission.Create, request{resource: "pods", subresource: "binding"}))
			node := &user.DefaultInfo{Name: "system:node:x"}
			assert.True(t, admit(node, namespace, admission.Update, request{resource: "pods", subresource: "status"}))
		}
	}
	assert.Positive(t, min(checked[true], checked[false]))
}

// testRoles compares our roles view, edit and admin with Kubernetes' roles. The differences are in
// internal/tenancy/testdata/beside-kubernetes-roles.txt.
func testRoles(t *testing.T, p plan) {
	var theirs []rbacv1.PolicyRule
	differences := map[string]map[string][]string{}
	for _, access := range []string{"view", "edit", "admin"} {
		for _, role := range bootstrappolicy.ClusterRoles() {
			if role.Name == "system:aggregate-to-"+access {
				theirs = append(theirs, role.Rules...) // edit includes view, and admin includes edit
			}
		}
		for _, r := range requests(ofType[*rbacv1.ClusterRole](p.objects)) {
			attributes := r.attributes(&user.DefaultInfo{}, "n")
			inOurs := rbac.RulesAllow(attributes, clusterRole(t, p, access).Rules...)
			inTheirs := rbac.RulesAllow(attributes, theirs...)
			if inOurs == inTheirs || r.group == "extensions" { // the API server no longer serves this group
				continue
			}
			heading := access + ", only in Kubernetes' role"
			if inOurs {
				heading = access + ", only in our role"
			}
			add(differences, heading, r.path(), r.verb)
		}
	}
	golden(t, "beside-kubernetes-roles.txt", table(differences))
}

// testObjects validates all planned objects with the code of the API server.
func testObjects(t *testing.T, plans []plan) {
	kinds := map[string]int{}
	for _, p := range plans {
		for _, o := range p.objects {
			kind := o.GetObjectKind().GroupVersionKind()
			kinds[kind.Kind]++
			legacyscheme.Scheme.Default(o)
			internal, err := legacyscheme.Scheme.ConvertToVersion(o,
				schema.GroupVersion{Group: kind.Group, Version: runtime.APIVersionInternal})
			require.NoError(t, err)
			switch o := internal.(type) {
			case *coreapi.Namespace:
				assert.Empty(t, corevalidation.ValidateNamespace(o))
			case *coreapi.LimitRange:
				assert.Empty(t, corevalidation.ValidateLimitRange(o))
			case *coreapi.ResourceQuota:
				assert.Empty(t, corevalidation.ValidateResourceQuota(o))
			case *networkingapi.NetworkPolicy:
				assert.Empty(t, networkingvalidation.ValidateNetworkPolicy(o,
					networkingvalidation.NetworkPolicyValidationOptions{}))
			case *rbacapi.ClusterRole:
				assert.Empty(t, rbacapivalidation.ValidateClusterRole(o, rbacapivalidation.ClusterRoleValidationOptions{}))
			case *rbacapi.RoleBinding:
				assert.Empty(t, rbacapivalidation.ValidateRoleBinding(o))
			case *admissionapi.ValidatingAdmissionPolicy:
				assert.Empty(t, admissionvalidation.ValidateValidatingAdmissionPolicy(o))
			case *admissionapi.ValidatingAdmissionPolicyBinding:
				assert.Empty(t, admissionvalidation.ValidateValidatingAdmissionPolicyBinding(o))
			default:
				require.Fail(t, "add the validation of this kind", kind)
			}
		}
	}
	assert.Len(t, kinds, 8)
}

// table returns the text of heading → path → verbs. It groups paths with the same verbs.
func table(differences map[string]map[string][]string) string {
	var out strings.Builder
	for _, heading := range slices.Sorted(maps.Keys(differences)) {
		fmt.Fprintf(&out, "%s\n", heading)
		paths := map[string][]string{}
		for path, verbs := range differences[heading] {
			slices.SortFunc(verbs, func(a, b string) int {
				return slices.Index(slices.Concat(standardVerbs, specialVerbs),
					a) - slices.Index(slices.Concat(standardVerbs, specialVerbs), b)
			})
			paths[strings.Join(verbs, " ")] = append(paths[strings.Join(verbs, " ")], path)
		}
		for _, verbs := range slices.Sorted(maps.Keys(paths)) {
			fmt.Fprintf(&out, "  %s\n", verbs)
			for _, path := range slices.Sorted(slices.Values(paths[verbs])) {
				fmt.Fprintf(&out, "    %s\n", path)
			}
		}
	}
	return out.String()
}

// golden compares got with internal/tenancy/testdata/NAME. With UPDATE_GOLDEN, it writes the file instead.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join(repository, "internal/tenancy/testdata", name)
	if os.Getenv("UPDATE_GOLDEN") != "" {
		require.NoError(t, os.WriteFile(file, []byte(got), 0o644))
		return
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.Equal(t, string(want), got, "run with UPDATE_GOLDEN=1 if the change is intended")
}
