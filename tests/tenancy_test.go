//go:build e2e

package tests

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"kubernetes-openstack/internal/tenancy"
	"kubernetes-openstack/internal/turns"
)

// testTenancy creates users of two projects with misleading names. It returns the steps that check the users'
// access to the API. byRBAC restarts nothing. toABAC and byABAC restart API servers, so no other step may need the API
// during them. The steps of toABAC run alone.
func testTenancy(t *testing.T, e *engine, api *api) (byRBAC, toABAC, byABAC func(*testing.T)) {
	k := newKeystone(t, e.getenv("OS_CLIENT_CONFIG_FILE"))
	other := k.domain("e2e-other")
	web, shop := k.project("web", "default"), k.project("shop", other)
	alice := k.person("alice", "default", web)
	k.put(alice.role("member")...)
	namesake := k.person("alice", other, shop)
	k.put(namesake.role("member")...)
	hostile := k.person("system:admin", "default", web)
	hostile.inGroup("system:masters", "reader")
	credential := alice.applicationCredential(t, "reader")

	bound := func(namespace, person string, want bool) error {
		groups, err := api.try("get", "rolebindings", "--namespace", namespace, "--output",
			"jsonpath={.items[*].subjects[*].name}")
		if err == nil && strings.Contains(groups, person) != want {
			err = fmt.Errorf("in %s, roles are bound to %q; %s is among them: %v", namespace, groups, person, !want)
		}
		return err
	}
	var namespaces map[string]string
	table := func(t *testing.T) {
		t.Helper()
		api.await(t, "wait", "--for=condition=Available", "apiservice/v1beta1.metrics.k8s.io")
		people := []*kubernetes.Clientset{
			api.as(t, alice.token(t)), api.as(t, credentialToken(t, k, credential.ID, credential.Secret)),
			api.as(t, hostile.token(t)), api.as(t, namesake.token(t)),
		}
		var out strings.Builder
		fmt.Fprintf(&out, "%-44s %-8s %-14s %-14s %s\n", "", "alice", "her reader", "system:admin", "alice of another domain")
		for _, r := range requests {
			fmt.Fprintf(&out, "%-44s", r.name)
			for i, person := range people {
				answer := answerOf(r.send(t.Context(), person, namespaces[web]))
				fmt.Fprintf(&out, " %-*s", []int{8, 14, 14, 3}[i], answer)
				assert.Equal(t, r.want[i], answer, "%s, user %d", r.name, i)
			}
			out.WriteString("\n")
		}
		assert.Equal(t, "yes", answerOf(requests[0].send(t.Context(), people[3], namespaces[shop])),
			"the other alice has access to her own namespace")
		t.Log("\n" + out.String())
	}
	revoke := func(t *testing.T, revoked func() error) {
		t.Helper()
		client := api.as(t, alice.token(t))
		require.Equal(t, "yes", answerOf(requests[0].send(t.Context(), client, namespaces[web])))
		k.delete(alice.role("member")...)
		begin := time.Now()
		var refused time.Duration
		eventually(t, 5*time.Minute, func() error {
			answer := answerOf(requests[0].send(t.Context(), client, namespaces[web]))
			if answer == "yes" {
				return fmt.Errorf("alice still has access")
			}
			if refused == 0 {
				refused = time.Since(begin)
				t.Logf("the API refuses her token %.0f s after the role was revoked in Keystone: %s", refused.Seconds(), answer)
			}
			return revoked()
		})
		t.Logf("her access was removed from the policy after %.0f s", time.Since(begin).Seconds())
	}
	controlPlanes := []string{"e2e-control-plane-0", "e2e-control-plane-1"}
	started := func(t *testing.T) (when []string) {
		for _, name := range controlPlanes {
			when = append(when, e.on(t, name, "systemctl show --property=ExecMainStartTimestamp kube-apiserver"))
		}
		return when
	}
	policies := func() (map[string]string, error) {
		found := map[string]string{}
		for _, name := range controlPlanes {
			out, err := e.ssh(name,
				"cat /etc/kubernetes/abac/policy.jsonl && test ! -e /etc/kubernetes/abac/policy.jsonl.reload").Output()
			if err != nil {
				return nil, fmt.Errorf("%s: policy file: %w", name, err)
			}
			found[name] = string(out)
		}
		return found, nil
	}
	checkPolicies := func(contains bool, text string) error {
		found, err := policies()
		for name, policy := range found {
			if err == nil && strings.Contains(policy, text) != contains {
				err = fmt.Errorf("the policy of %s contains %s: %v", name, text, !contains)
			}
		}
		return err
	}

	byRBAC = func(t *testing.T) {
		// kubectl runs a tenant's kubectl with variables of OpenStack, and returns its standard output.
		kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
		kubectl := func(variables []string, args ...string) (string, error) {
			line := "exec env --unset=OS_CLOUD --unset=OS_CLIENT_CONFIG_FILE OS_AUTH_URL=" + k.client.IdentityEndpoint + ` "$@"`
			return output(e.shell(line, slices.Concat(variables, []string{"kubectl", "--kubeconfig", kubeconfig}, args)...))
		}
		password := []string{"OS_USERNAME=alice", "OS_USER_DOMAIN_NAME=Default", "OS_PASSWORD=" + personsPassword}
		step(t, "each project gets a namespace", func(t *testing.T) {
			begin := time.Now()
			eventually(t, 5*time.Minute, func() error {
				list, err := api.client.CoreV1().Namespaces().List(t.Context(),
					metav1.ListOptions{LabelSelector: tenancy.ProjectLabel})
				if err != nil {
					return err
				}
				namespaces = map[string]string{}
				for _, n := range list.Items {
					namespaces[n.Labels[tenancy.ProjectLabel]] = n.Name
				}
				if namespaces[web] == "" || namespaces[shop] == "" {
					return fmt.Errorf("namespaces of projects: %v", namespaces)
				}
				// also wait for access of each user, because tenant-sync's first read may precede the last user
				return errors.Join(bound(namespaces[web], hostile.id, true), bound(namespaces[shop], namesake.id, true))
			})
			t.Logf("%s and %s existed %.0f s after their users", namespaces[web], namespaces[shop], time.Since(begin).Seconds())
			for _, name := range []string{namespaces[web], namespaces[shop]} {
				service := &corev1.Service{
					ObjectMeta: metav1.ObjectMeta{Name: "some"}, Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80}}},
				}
				_, err := api.client.CoreV1().Services(name).Create(t.Context(), service, metav1.CreateOptions{})
				require.NoError(t, err)
			}
		})
		step(t, "kubectl authenticates with a password and with an application credential", func(t *testing.T) {
			e.run(t, `go run ./cmd/tenant-kubeconfig --project web@Default <"$1" >"$2"`, api.kubeconfig, kubeconfig)
			whoami := func(variables ...string) (name string, groups []string) {
				t.Helper()
				out, err := kubectl(variables, "auth", "whoami", "--output=json")
				require.NoError(t, err)
				var review struct {
					Status struct {
						UserInfo struct {
							Username string
							Groups   []string
						}
					}
				}
				require.NoError(t, json.Unmarshal([]byte(out), &review))
				return review.Status.UserInfo.Username, review.Status.UserInfo.Groups
			}
			name, groups := whoami(password...)
			assert.Equal(t, tenancy.Username(alice.id), name)
			assert.ElementsMatch(t, []string{tenancy.Group(web, alice.id, "member"), tenancy.Group(web, alice.id, "reader"),
				"system:authenticated"}, groups)
			name, groups = whoami("OS_APPLICATION_CREDENTIAL_ID="+credential.ID,
				"OS_APPLICATION_CREDENTIAL_SECRET="+credential.Secret)
			assert.Equal(t, tenancy.Username(alice.id), name)
			assert.ElementsMatch(t, []string{tenancy.Group(web, alice.id, "reader"), "system:authenticated"}, groups)
			name, groups = whoami("OS_USERNAME=system:admin", "OS_USER_DOMAIN_NAME=Default", "OS_PASSWORD="+personsPassword)
			assert.Equal(t, tenancy.Username(hostile.id), name)
			assert.ElementsMatch(t, []string{tenancy.Group(web, hostile.id, "reader"), "system:authenticated"}, groups)
			_, err := kubectl(password, "run", "busy", "--image=devcloud.test/busybox:1.35", "--", "sh", "-c",
				"while sleep 1; do :; done")
			require.NoError(t, err)
		})
		step(t, "RBAC allows and refuses the expected requests", table)
		step(t, "a tenant cannot receive a node's requests to Keystone", func(t *testing.T) {
			services := api.as(t, alice.token(t)).CoreV1().Services(namespaces[web])
			_, err := services.Create(t.Context(), externalService("keystone", outside, 5000), metav1.CreateOptions{})
			assert.ErrorContains(t, err, "spec.externalIPs: "+outside+": must be in network.serviceExternalIPs (10.98.0.128/26)")
			allowed, err := services.Create(t.Context(), externalService("allowed", tenantsExternalIP, 5000),
				metav1.CreateOptions{})
			require.NoError(t, err)
			allowed.Spec.ExternalIPs = []string{outside}
			_, err = services.Update(t.Context(), allowed, metav1.UpdateOptions{})
			assert.ErrorContains(t, err, "must be in network.serviceExternalIPs")
			assert.Contains(t, e.on(t, "e2e-worker-0",
				"curl -sS --fail --max-time "+answerSeconds+" http://"+outside+":5000/v3"), `"version"`)
			require.NoError(t, services.Delete(t.Context(), allowed.Name, metav1.DeleteOptions{}))
		})
		step(t, "kubectl top shows a tenant only the pods of its own namespace", func(t *testing.T) {
			api.waitForMetrics(t, "namespaces/"+namespaces[web]+"/pods", 1)
			var out string
			eventually(t, time.Minute, func() (err error) { // until both replicas of metrics-server know the pod
				out, err = kubectl(password, "top", "pods", "--no-headers")
				return err
			})
			t.Log(out)
			assert.Regexp(t, "^busy"+usage+"$", strings.TrimSpace(out))
			for _, args := range [][]string{{"pods", "--namespace=kube-system"}, {"pods", "--all-namespaces"}, {"nodes"}} {
				_, err := kubectl(password, append([]string{"top"}, args...)...)
				assert.ErrorContains(t, err, "(Forbidden)", args)
			}
			_, err := kubectl(password, "delete", "pod", "busy", "--now", "--wait=false")
			require.NoError(t, err)
		})
		step(t, "revoking a role ends access by RBAC without a restart", func(t *testing.T) {
			before := started(t)
			revoke(t, func() error { return bound(namespaces[web], alice.id, false) })
			assert.Equal(t, before, started(t))
			k.put(alice.role("member")...)
		})
	}
	toABAC = func(t *testing.T) {
		stepExclusive(t, "the change to ABAC restarts the API servers and loses no request", func(t *testing.T) {
			load := api.startLoad(t)
			e.configure(t, func(text string) string { return patched(t, "abac.yaml")(patched(t, "e2e.yaml")(text)) })
			e.must("up", "--yes", "--skip-preview")
			begin := time.Now()
			eventually(t, 5*time.Minute, func() error { return checkPolicies(true, tenancy.Group(web, alice.id, "member")) })
			t.Logf("both API servers have restarted %.0f s after up ended", time.Since(begin).Seconds())
			time.Sleep(5 * time.Second)
			t.Log(load.end())
			assert.Empty(t, load.failures)
			assert.Empty(t, api.kubectl(t, "get", "rolebindings", "--namespace", namespaces[web], "--output", "name"))
		})
		stepExclusive(t,
			"without Keystone, tokens expire from the cache, and administrators keep access", func(t *testing.T) {
				client := api.as(t, hostile.token(t))
				require.Equal(t, "yes", answerOf(requests[0].send(t.Context(), client, namespaces[web])))
				box := openNamespace(t, "")
				rule := []string{"INPUT", "!", "--in-interface", "lo", "--protocol", "tcp", "--dport", "5000", "--jump", "REJECT",
					"--reject-with", "tcp-reset"}
				require.NoError(t, box.iptables(append([]string{"--insert"}, rule...)...))
				restore := sync.OnceFunc(func() { require.NoError(t, box.iptables(append([]string{"--delete"}, rule...)...)) })
				t.Cleanup(restore)
				begin := time.Now()
				require.Equal(t, "yes", answerOf(requests[0].send(t.Context(), client, namespaces[web])),
					"the API server has cached the token")
				eventually(t, 2*time.Minute, func() error {
					if answer := answerOf(requests[0].send(t.Context(), client, namespaces[web])); answer != "unauthenticated" {
						return fmt.Errorf("the API server still answers %s", answer)
					}
					return nil
				})
				t.Logf("tokens are refused after %.0f s", time.Since(begin).Seconds())
				eventually(t, 2*time.Minute, func() error {
					return e.ssh("e2e-control-plane-0", "systemctl is-failed --quiet tenant-sync").Run()
				})
				api.waitForNodes(t, 4, time.Minute)
				require.NoError(t, checkPolicies(true, tenancy.Group(web, hostile.id, "reader")))
				restore()
				begin = time.Now()
				eventually(t, 2*time.Minute, func() error {
					if answer := answerOf(requests[0].send(t.Context(), client, namespaces[web])); answer != "yes" {
						return fmt.Errorf("the API server answers %s", answer)
					}
					return nil
				})
				t.Logf("tokens are accepted again %.0f s after Keystone is available", time.Since(begin).Seconds())
			})
	}
	byABAC = func(t *testing.T) {
		step(t, "ABAC allows and refuses the expected requests", table)
		step(t, "revoking a role or deleting a project ends access by ABAC", func(t *testing.T) {
			k.delete("projects", shop)
			revoke(t, func() error { return errors.Join(checkPolicies(false, alice.id), checkPolicies(false, namesake.id)) })
		})
		step(t, "the namespace of a deleted project is closed and keeps its objects", func(t *testing.T) {
			eventually(t, 5*time.Minute, func() error {
				reason, err := api.try("get", "namespace", namespaces[shop], "--output",
					`jsonpath={.metadata.annotations.kubernetes-openstack/closed}`)
				if err == nil && reason != "deleted" {
					err = fmt.Errorf("the reason in the annotation is %q, not deleted", reason)
				}
				return err
			})
			api.kubectl(t, "get", "service", "some", "--namespace", namespaces[shop])
		})
	}
	return byRBAC, toABAC, byABAC
}

// requests lists requests of each user to the namespace of alice's project, and the expected answers. The
// order of want is: alice, her application credential, system:admin, and the other alice. alice is a member
// of the project, and her application credential is a reader. system:admin is a reader by the group
// system:masters. The other alice has no role there.
var requests = []struct {
	name string
	send func(ctx context.Context, client *kubernetes.Clientset, namespace string) error
	want [4]string
}{
	{"list pods", func(ctx context.Context, c *kubernetes.Clientset, n string) error {
		_, err := c.CoreV1().Pods(n).List(ctx, metav1.ListOptions{})
		return err
	}, [4]string{"yes", "yes", "yes", "no"}},
	{"create a ConfigMap", func(ctx context.Context, c *kubernetes.Clientset, n string) error {
		_, err := c.CoreV1().ConfigMaps(n).Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "new"}}, dryRun)
		return err
	}, [4]string{"yes", "no", "no", "no"}},
	{"list Secrets", func(ctx context.Context, c *kubernetes.Clientset, n string) error {
		_, err := c.CoreV1().Secrets(n).List(ctx, metav1.ListOptions{})
		return err
	}, [4]string{"yes", "no", "no", "no"}},
	{"read the namespace itself", func(ctx context.Context, c *kubernetes.Clientset, n string) error {
		_, err := c.CoreV1().Namespaces().Get(ctx, n, metav1.GetOptions{})
		return err
	}, [4]string{"yes", "yes", "yes", "no"}},
	{"delete the namespace itself", func(ctx context.Context, c *kubernetes.Clientset, n string) error {
		return c.CoreV1().Namespaces().Delete(ctx, n, metav1.DeleteOptions{DryRun: dryRun.DryRun})
	}, [4]string{"no", "no", "no", "no"}},
	{"write a Service", func(ctx context.Context, c *kubernetes.Clientset, n string) error {
		_, err := c.CoreV1().Services(n).Patch(ctx, "some", types.MergePatchType,
			[]byte(`{"metadata": {"labels": {"a": "b"}}}`), dryRunPatch)
		return err
	}, [4]string{"yes", "no", "no", "no"}},
	{"write a Service's status", func(ctx context.Context, c *kubernetes.Clientset, n string) error {
		_, err := c.CoreV1().Services(n).Patch(ctx, "some", types.MergePatchType, []byte(`{"status": {"conditions": [{
			"type": "example.com/Some", "status": "True", "reason": "Some", "message": "",
			"lastTransitionTime": "2026-01-01T00:00:00Z"}]}}`), dryRunPatch, "status")
		return err
	}, [4]string{"no", "no", "no", "no"}},
	{"take Keystone's address with a Service", func(ctx context.Context, c *kubernetes.Clientset, n string) error {
		_, err := c.CoreV1().Services(n).Create(ctx, externalService("new", outside, 5000), dryRun)
		return err
	}, [4]string{"no", "no", "no", "no"}},
	{"use an external IP of the cluster's range", func(ctx context.Context, c *kubernetes.Clientset, n string) error {
		_, err := c.CoreV1().Services(n).Create(ctx, externalService("new", tenantsExternalIP, 80), dryRun)
		return err
	}, [4]string{"yes", "no", "no", "no"}},
	{"create a RoleBinding", func(ctx context.Context, c *kubernetes.Clientset, n string) error {
		_, err := c.RbacV1().RoleBindings(n).Create(ctx, &rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: "new"},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "view"},
		}, dryRun)
		return err
	}, [4]string{"no", "no", "no", "no"}},
	{"read the metrics of pods", func(ctx context.Context, c *kubernetes.Clientset, n string) error {
		return metricsRequest(c, "namespaces/"+n+"/pods").Do(ctx).Error()
	}, [4]string{"yes", "yes", "yes", "no"}},
	{"read the metrics of pods of all namespaces", func(ctx context.Context, c *kubernetes.Clientset, _ string) error {
		return metricsRequest(c, "pods").Do(ctx).Error()
	}, [4]string{"no", "no", "no", "no"}},
	{"read the metrics of nodes", func(ctx context.Context, c *kubernetes.Clientset, _ string) error {
		return metricsRequest(c, "nodes").Do(ctx).Error()
	}, [4]string{"no", "no", "no", "no"}},
	{"list pods of all namespaces", func(ctx context.Context, c *kubernetes.Clientset, _ string) error {
		_, err := c.CoreV1().Pods("").List(ctx, metav1.ListOptions{})
		return err
	}, [4]string{"no", "no", "no", "no"}},
	{"list namespaces", func(ctx context.Context, c *kubernetes.Clientset, _ string) error {
		_, err := c.CoreV1().Namespaces().List(ctx, metav1.ListOptions{})
		return err
	}, [4]string{"no", "no", "no", "no"}},
	{"list nodes", func(ctx context.Context, c *kubernetes.Clientset, _ string) error {
		_, err := c.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
		return err
	}, [4]string{"no", "no", "no", "no"}},
}

var (
	dryRun      = metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}
	dryRunPatch = metav1.PatchOptions{DryRun: dryRun.DryRun}
)

// answerOf returns yes or no, or unauthenticated if the API server does not authenticate the user.
func answerOf(err error) string {
	const policy = "ValidatingAdmissionPolicy '"
	switch {
	case err == nil:
		return "yes"
	case apierrors.IsForbidden(err), apierrors.IsInvalid(err) && strings.Contains(err.Error(), policy):
		return "no"
	case apierrors.IsUnauthorized(err):
		return "unauthenticated"
	}
	return err.Error()
}

// externalService returns a Service with an external IP.
func externalService(name, address string, port int32) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: port}}, ExternalIPs: []string{address}},
	}
}

// as returns a client with only a Keystone token.
func (a *api) as(t testing.TB, token string) *kubernetes.Clientset {
	t.Helper()
	config := rest.AnonymousClientConfig(a.config(t))
	config.BearerToken = token
	client, err := kubernetes.NewForConfig(config)
	require.NoError(t, err)
	return client
}

func (a *api) config(t testing.TB) *rest.Config {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", a.kubeconfig)
	require.NoError(t, err)
	return config
}

// apiLoad holds two clients of the API. One keeps its connection, and one opens a new connection for each
// request.
type apiLoad struct {
	stop     chan struct{}
	done     sync.WaitGroup
	mutex    sync.Mutex
	answered int
	failures []string
}

func (a *api) startLoad(t testing.TB) *apiLoad {
	t.Helper()
	l := &apiLoad{stop: make(chan struct{})}
	config := a.config(t)
	client, err := rest.HTTPClientFor(config)
	require.NoError(t, err)
	client.Timeout = turns.Patience * 10 * time.Second
	url := config.Host + "/api/v1/namespaces/default/configmaps"
	begin := time.Now()
	repeat := func(request func() error) {
		l.done.Go(func() {
			for {
				select {
				case <-l.stop:
					return
				case <-time.After(100 * time.Millisecond):
				}
				at := time.Since(begin)
				err := request()
				l.mutex.Lock()
				if l.answered++; err != nil {
					l.failures = append(l.failures, fmt.Sprintf("after %.1f s: %v", at.Seconds(), err))
				}
				l.mutex.Unlock()
			}
		})
	}
	repeat(func() error {
		client.CloseIdleConnections()
		response, err := client.Get(url)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return fmt.Errorf("%s", response.Status)
		}
		_, err = io.Copy(io.Discard, response.Body)
		return err
	})
	repeat(func() error {
		name := fmt.Sprintf("load-%d", time.Now().UnixNano())
		_, err := a.client.CoreV1().ConfigMaps("default").Create(context.Background(),
			&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}, dryRun)
		return err
	})
	return l
}

func (l *apiLoad) end() string {
	close(l.stop)
	l.done.Wait()
	return fmt.Sprintf("%d requests to the API, of which %d failed", l.answered, len(l.failures))
}
