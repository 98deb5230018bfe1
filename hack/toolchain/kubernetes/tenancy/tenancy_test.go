// Package tenancy_test has Kubernetes' own code judge what package tenancy plans: its ABAC and RBAC authorizers, its
// admission, and its validation of every object.
package tenancy_test

import (
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

// source is the module that has package tenancy. It is no dependency of this one, whose pins are what machines
// run: the test there writes what is judged here.
const source = "../../../.."

// world is what becomes of a random one.
type world struct {
	abac       abac.PolicyList
	objects    []runtime.Object
	rbac       *rbac.RBACAuthorizer
	namespaces []string
	// tokens are what people may show to the API server.
	tokens []token
}

// token is a user's, of one project and with some of their roles, and what it is to open by a definition of its own:
// the access to that project's namespace, which may be none, and nothing in others.
type token struct {
	User, Namespace, Access string
	Groups                  []string
}

func (t token) user() user.Info {
	return &user.DefaultInfo{Name: t.User, Groups: append([]string{user.AllAuthenticated}, t.Groups...)}
}

// accessTo a namespace.
func (t token) accessTo(namespace string) string {
	if namespace != t.Namespace {
		return ""
	}
	return t.Access
}

func worlds(t *testing.T) []world {
	t.Helper()
	folder := t.TempDir()
	write := exec.Command("go", "test", "-count=1", "-run=^TestRandomSnapshots$", "./internal/tenancy")
	write.Dir = source
	write.Env = append(os.Environ(), "RANDOM_SNAPSHOTS="+folder)
	text, err := write.CombinedOutput()
	require.NoError(t, err, string(text))
	files, err := filepath.Glob(folder + "/*.json")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	var out []world
	for _, file := range files {
		base := strings.TrimSuffix(file, ".json")
		w := world{objects: read(t, base+".yaml")}
		w.abac, err = abac.NewFromFile(base + ".policy.jsonl")
		require.NoError(t, err)
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(text, &w.tokens))
		for _, n := range of[*corev1.Namespace](w.objects) {
			w.namespaces = append(w.namespaces, n.Name)
		}
		_, static := rbacvalidation.NewTestRuleResolver(nil, of[*rbacv1.RoleBinding](w.objects),
			of[*rbacv1.ClusterRole](w.objects), nil)
		w.rbac = rbac.New(static, static, static, static)
		out = append(out, w)
	}
	return out
}

// of are the objects of a type.
func of[T runtime.Object](objects []runtime.Object) []T {
	var out []T
	for _, o := range objects {
		if o, is := o.(T); is {
			out = append(out, o)
		}
	}
	return out
}

// read is a manifest's objects, where no field may be unknown.
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

// request is something that somebody may want to do, in a namespace.
type request struct{ group, resource, subresource, verb string }

func (r request) attributes(who user.Info, namespace string) authorizer.AttributesRecord {
	return authorizer.AttributesRecord{
		User: who, Verb: r.verb, Namespace: namespace,
		APIGroup: r.group, APIVersion: "v1", Resource: r.resource, Subresource: r.subresource, Name: "x",
		ResourceRequest: true,
	}
}

// path is the request's resource, as RBAC writes it.
func (r request) path() string {
	return strings.TrimPrefix(r.group+"/", "/") + strings.TrimSuffix(r.resource+"/"+r.subresource, "/")
}

var (
	standardVerbs = []string{"get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"}
	specialVerbs  = []string{"impersonate", "bind", "escalate", "use", "approve", "sign"}
)

// requests are of all verbs on all resources that a ClusterRole of Kubernetes' own, or one of ours, names; of the
// subresources that no ClusterRole names, those of pods.
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
	return slices.SortedFunc(maps.Keys(seen),
		func(a, b request) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
}

func clusterRole(t *testing.T, w world, access string) *rbacv1.ClusterRole {
	t.Helper()
	for _, role := range of[*rbacv1.ClusterRole](w.objects) {
		if role.Name == "kubernetes-openstack:tenant-"+access {
			return role
		}
	}
	require.Fail(t, "no ClusterRole", access)
	return nil
}

func TestRandomWorlds(t *testing.T) {
	all := worlds(t)
	t.Run("objects", func(t *testing.T) { testObjects(t, all) })
	t.Run("authorizers", func(t *testing.T) { testAuthorizers(t, all) })
	t.Run("admission", func(t *testing.T) { testAdmission(t, all) })
	t.Run("roles", func(t *testing.T) { testRoles(t, all[0]) })
}

// testAuthorizers asks both for everything, with everybody's tokens. RBAC gives what the token's access is, and
// nothing where it has none, as in others' namespaces. ABAC gives all of that, and more by
// internal/tenancy/testdata/abac-beyond-rbac.txt alone, which says of each difference what stops it. By neither has a
// token more than one with the same roles and others.
func testAuthorizers(t *testing.T, worlds []world) {
	beyond := map[string]map[string][]string{} // access and what stops it → path → verbs
	type decision struct {
		by, namespace string
		request
	}
	asked, compared := map[string]int{}, map[bool]int{}
	for _, w := range worlds {
		all, admit := requests(of[*rbacv1.ClusterRole](w.objects)), admitter(t, w)
		tokens := append(w.tokens, strangers(w.tokens)...)
		allowed := make([]map[decision]bool, len(tokens))
		for i, token := range tokens {
			allowed[i] = map[decision]bool{}
			who := token.user()
			for _, namespace := range append(w.namespaces, "", "default", "kube-system") {
				access := token.accessTo(namespace)
				asked[access]++
				var rules []rbacv1.PolicyRule
				if access != "" {
					rules = clusterRole(t, w, access).Rules
				}
				for _, r := range all {
					attributes := r.attributes(who, namespace)
					byABAC, _, err := w.abac.Authorize(t.Context(), attributes)
					require.NoError(t, err)
					byRBAC, _, err := w.rbac.Authorize(t.Context(), attributes)
					require.NoError(t, err)
					want := rbac.RulesAllow(attributes, rules...)
					if byABAC == authorizer.DecisionAllow {
						allowed[i][decision{"ABAC", namespace, r}] = true
					}
					if byRBAC == authorizer.DecisionAllow {
						allowed[i][decision{"RBAC", namespace, r}] = true
					}
					switch {
					case want != (byRBAC == authorizer.DecisionAllow):
						t.Errorf("RBAC lets %v, which has access %q to %q, do %v", token, access, namespace, r)
					case want && byABAC != authorizer.DecisionAllow:
						t.Errorf("ABAC does not let %v, which has access %q to %q, do %v", token, access, namespace, r)
					case access == "" && byABAC == authorizer.DecisionAllow:
						t.Errorf("ABAC lets %v, which has no access to %q, do %v", token, namespace, r)
					case !want && byABAC == authorizer.DecisionAllow:
						by, path := stopped(admit, token, r), r.path()
						if by == noSuchVerb {
							path = "all that they may change"
						}
						note(beyond, access+", "+by, path, r.verb)
					}
				}
			}
			for _, path := range []string{"/", "/metrics", "/api", "/logs/"} {
				byABAC, _, err := w.abac.Authorize(t.Context(), authorizer.AttributesRecord{User: who, Verb: "get", Path: path})
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
					assert.True(t, allowed[j][d], "%v may, and %v may not, do %v", fewer, more, d)
				}
			}
		}
	}
	assert.Positive(t, compared[true], "no role makes a difference")
	for _, access := range []string{"", "view", "edit", "admin"} {
		assert.Positive(t, asked[access], "nobody has access %q", access)
	}
	golden(t, "abac-beyond-rbac.txt", table(beyond))
}

// strangers have groups and names that are like those of tokens, and mean nothing.
func strangers(tokens []token) []token {
	out := []token{{User: "system:anonymous"}, {User: "*", Groups: []string{"*"}},
		{User: "keystone:", Groups: []string{"keystone:", "keystone:::"}}}
	for _, t := range tokens {
		if t.Access == "" || len(t.Groups) != 1 {
			continue
		}
		group := t.Groups[0]
		id, role := strings.TrimPrefix(group, "keystone:"), group[strings.LastIndex(group, ":"):]
		out = append(out,
			token{User: t.User}, token{User: group}, // a user is no group
			token{User: t.User, Groups: []string{
				t.User, id, "keystone:" + id[1:], strings.ToUpper(group), group + ":", strings.TrimSuffix(group, role),
				"keystone" + role, t.User + role,
			}},
		)
	}
	return out
}

const noSuchVerb = "nothing: there is no such thing to do"

// stopped says what stops a request that ABAC lets through.
func stopped(admit admit, token token, r request) string {
	operation := map[string]admission.Operation{
		"create": admission.Create, "update": admission.Update, "patch": admission.Update, "delete": admission.Delete,
		"deletecollection": admission.Delete,
	}[r.verb]
	if slices.Contains([]string{"attach", "exec", "portforward", "proxy"}, r.subresource) {
		operation = admission.Connect // by whatever verb
	}
	switch {
	case r.verb == "impersonate" && r.path() == "serviceaccounts":
		return "nothing: they may have its token, too"
	case slices.Contains(specialVerbs, r.verb):
		return noSuchVerb
	case operation == "":
		return "nothing: it tells what its resource does, if it is there"
	case admit(token.user(), token.Namespace, operation, r):
		return "NOTHING"
	}
	return "admission"
}

// note adds a verb, once.
func note(to map[string]map[string][]string, heading, path, verb string) {
	if to[heading] == nil {
		to[heading] = map[string][]string{}
	}
	if verbs := to[heading][path]; !slices.Contains(verbs, verb) {
		to[heading][path] = append(verbs, verb)
	}
}

// admit tells whether admission lets a request through.
type admit func(who user.Info, namespace string, operation admission.Operation, r request) bool

// admitter asks the ValidatingAdmissionPolicy, on an API server that authorizes by ABAC.
func admitter(t *testing.T, w world) admit {
	t.Helper()
	policies := of[*admissionv1.ValidatingAdmissionPolicy](w.objects)
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
	return func(who user.Info, namespace string, operation admission.Operation, r request) bool {
		resource := schema.GroupVersionResource{Group: r.group, Version: "v1", Resource: r.resource}
		attributes := admission.NewAttributesRecord(nil, nil, schema.GroupVersionKind{}, namespace, "x", resource,
			r.subresource, operation, nil, false, who)
		result := validator.Validate(t.Context(), resource, &admission.VersionedAttributes{Attributes: attributes}, nil, nil,
			celconfig.RuntimeCELCostBudget, w.abac)
		for _, decision := range result.Decisions {
			require.NotEqual(t, validating.EvalError, decision.Evaluation, decision.Message)
			if decision.Action == validating.ActionDeny {
				return false
			}
		}
		return true
	}
}

// testAdmission lets through what RBAC gives, and does not touch who is no tenant.
func testAdmission(t *testing.T, worlds []world) {
	asked := map[bool]int{}
	for _, w := range worlds {
		admit := admitter(t, w)
		for _, token := range w.tokens {
			if token.Access == "" {
				continue
			}
			edits, who, namespace := token.Access != "view", token.user(), token.Namespace
			asked[edits]++
			assert.Equal(t, edits, admit(who, namespace, admission.Connect, request{resource: "pods", subresource: "exec"}),
				token)
			assert.Equal(t, edits, admit(who, namespace, admission.Connect, request{resource: "services", subresource: "proxy"}),
				token)
			assert.True(t, admit(who, namespace, admission.Create, request{resource: "pods", subresource: "eviction"}))
			assert.True(t, admit(who, namespace, admission.Update,
				request{group: "apps", resource: "deployments", subresource: "scale"}))
			assert.True(t, admit(who, namespace, admission.Update, request{resource: "services"}))
			assert.False(t, admit(who, namespace, admission.Update, request{resource: "services", subresource: "status"}))
			assert.False(t, admit(who, namespace, admission.Create, request{resource: "pods", subresource: "binding"}))
			node := &user.DefaultInfo{Name: "system:node:x"}
			assert.True(t, admit(node, namespace, admission.Update, request{resource: "pods", subresource: "status"}))
		}
	}
	assert.Positive(t, min(asked[true], asked[false]))
}

// testRoles tells how view, edit and admin of ours differ from Kubernetes' own
// (internal/tenancy/testdata/beside-kubernetes-roles.txt).
func testRoles(t *testing.T, w world) {
	var theirs []rbacv1.PolicyRule
	differences := map[string]map[string][]string{}
	for _, access := range []string{"view", "edit", "admin"} {
		for _, role := range bootstrappolicy.ClusterRoles() {
			if role.Name == "system:aggregate-to-"+access {
				theirs = append(theirs, role.Rules...) // each has what the one before has
			}
		}
		for _, r := range requests(of[*rbacv1.ClusterRole](w.objects)) {
			attributes := r.attributes(&user.DefaultInfo{}, "n")
			our, their := rbac.RulesAllow(attributes, clusterRole(t, w, access).Rules...), rbac.RulesAllow(attributes, theirs...)
			if our == their || r.group == "extensions" { // which is no more
				continue
			}
			key := access + ", only Kubernetes'"
			if our {
				key = access + ", only ours"
			}
			note(differences, key, r.path(), r.verb)
		}
	}
	golden(t, "beside-kubernetes-roles.txt", table(differences))
}

// testObjects validates all that is planned as the API server does.
func testObjects(t *testing.T, worlds []world) {
	kinds := map[string]int{}
	for _, w := range worlds {
		for _, o := range w.objects {
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
				require.Fail(t, "who validates it?", kind)
			}
		}
	}
	assert.Len(t, kinds, 8)
}

// table prints heading → path → verbs, with paths of the same verbs together.
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

// golden compares got with internal/tenancy/testdata/NAME, or rewrites that where UPDATE_GOLDEN is set.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := "../../../../internal/tenancy/testdata/" + name
	if os.Getenv("UPDATE_GOLDEN") != "" {
		require.NoError(t, os.WriteFile(file, []byte(got), 0o644))
		return
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.Equal(t, string(want), got, "intended? UPDATE_GOLDEN=1 go test ./internal/tenancy, and read the diff")
}
