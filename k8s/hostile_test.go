package k8s

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"kubernetes-openstack/cluster"
)

// TestHostileTexts checks all manifests with texts that YAML reads as another type or as syntax. The objects must have
// these texts in the place of plain ones.
func TestHostileTexts(t *testing.T) {
	const plain = "plain-text"
	objects := func(text string) string {
		config := small(t)
		config.Storage.Classes = []cluster.StorageClass{{Aliases: []string{text}}}
		plan := cluster.NewPlan(config)
		plan.Name, plan.Calico.Version, plan.Monitoring.StorageClass = text, text, text
		for i := range plan.StorageClasses {
			class := reflect.ValueOf(&plan.StorageClasses[i]).Elem()
			for j := range class.NumField() {
				if class.Field(j).Kind() == reflect.String {
					class.Field(j).SetString(text)
				}
			}
		}
		var all []object
		for _, provider := range []string{cluster.SkyDNS, cluster.CoreDNS} {
			plan.DNS.Provider = provider
			for _, m := range []manifest{kubeControllers(plan), cloudControllerManager(plan), dns(plan), snapshots(plan),
				cinderCSI(plan), storageClasses(plan), monitoring(plan)} {
				found, err := m.objects()
				require.NoError(t, err, "%s: %q", m.name, text)
				all = append(all, found...)
			}
		}
		out, err := json.Marshal(all)
		require.NoError(t, err)
		return string(out)
	}
	want := objects(plain)
	require.Contains(t, want, `"name":"`+plain+`"`)
	for _, text := range []string{"true", "123", "null", "~", "1e3", "2026-12-01", "a: b", "a #b", "- a", "'", `"`, `\`,
		"a\nb: c", "\n---\n", "{{.}}", "[a]", " "} {
		encoded, err := json.Marshal(text)
		require.NoError(t, err)
		assert.JSONEq(t, strings.ReplaceAll(want, plain, string(encoded[1:len(encoded)-1])), objects(text), "%q", text)
	}
}

// TestHostileCloudConf checks that cloud.conf has each text on its own line, in quotes and with escapes.
func TestHostileCloudConf(t *testing.T) {
	for _, text := range []string{"true", "a#b", "a;b", `a"b`, `a\b`, "a\nb", "[Global]"} {
		config := small(t)
		config.Region, config.OpenStack.Interface, config.OpenStack.AuthURL = text, text, text
		config.OpenStack.LoadBalancer, config.Network.External.ID = cluster.Octavia, text
		conf, err := cloudConf(cluster.NewPlan(config), text, text, text)
		require.NoError(t, err)
		quoted, err := json.Marshal(text)
		require.NoError(t, err)
		assert.Equal(t, 7, strings.Count(conf, " = "+string(quoted)+"\n"), conf)
	}
}

// TestControllersTolerateOneMoreTaint checks the rule of package cluster for the taints of control planes: the
// cluster's own controllers tolerate each effect of CriticalAddonsOnly.
func TestControllersTolerateOneMoreTaint(t *testing.T) {
	controllers := 0
	plan := cluster.NewPlan(small(t))
	for _, m := range []manifest{kubeControllers(plan), cloudControllerManager(plan), snapshots(plan), cinderCSI(plan)} {
		objects, err := m.objects()
		require.NoError(t, err)
		for _, o := range objects {
			selector, _, _ := unstructured.NestedStringMap(o, "spec", "template", "spec", "nodeSelector")
			if _, onControlPlanes := selector["node-role.kubernetes.io/control-plane"]; onControlPlanes {
				controllers++
				tolerations, _, _ := unstructured.NestedSlice(o, "spec", "template", "spec", "tolerations")
				assert.Contains(t, tolerations, map[string]any{"key": "CriticalAddonsOnly", "operator": "Exists"}, o.name())
			}
		}
	}
	assert.Equal(t, 4, controllers)
}
