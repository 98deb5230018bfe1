// Package kubernetes_test checks the Kubernetes files and flags of machines with the code of the components that read
// them. It decodes and validates each file strictly, and parses each flag. The tests are necessary because kubelet,
// kube-proxy and the reader of the audit policy only warn about an unknown key.
package kubernetes_test

import (
	"fmt"
	"os"
	"path"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/sets"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/apiserver/pkg/apis/apiserver"
	apiserverinstall "k8s.io/apiserver/pkg/apis/apiserver/install"
	apiservervalidation "k8s.io/apiserver/pkg/apis/apiserver/validation"
	auditapi "k8s.io/apiserver/pkg/apis/audit"
	auditvalidation "k8s.io/apiserver/pkg/apis/audit/validation"
	"k8s.io/apiserver/pkg/audit"
	authenticationcel "k8s.io/apiserver/pkg/authentication/cel"
	authorizationcel "k8s.io/apiserver/pkg/authorization/cel"
	"k8s.io/apiserver/pkg/cel/environment"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	clientscheme "k8s.io/client-go/kubernetes/scheme"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	clientcmdlatest "k8s.io/client-go/tools/clientcmd/api/latest"
	apiserverapp "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanagerapp "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	proxyapp "k8s.io/kubernetes/cmd/kube-proxy/app"
	schedulerapp "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubeletapp "k8s.io/kubernetes/cmd/kubelet/app"
	"k8s.io/kubernetes/pkg/kubeapiserver/authorizer/modes"
	kubeletconfig "k8s.io/kubernetes/pkg/kubelet/apis/config"
	kubeletscheme "k8s.io/kubernetes/pkg/kubelet/apis/config/scheme"
	kubeletvalidation "k8s.io/kubernetes/pkg/kubelet/apis/config/validation"
	proxyconfig "k8s.io/kubernetes/pkg/proxy/apis/config"
	proxyscheme "k8s.io/kubernetes/pkg/proxy/apis/config/scheme"
	proxyvalidation "k8s.io/kubernetes/pkg/proxy/apis/config/validation"
	schedulerconfig "k8s.io/kubernetes/pkg/scheduler/apis/config"
	schedulerscheme "k8s.io/kubernetes/pkg/scheduler/apis/config/scheme"
	schedulervalidation "k8s.io/kubernetes/pkg/scheduler/apis/config/validation"
	podsecurityapi "k8s.io/pod-security-admission/admission/api"
	podsecurityscheme "k8s.io/pod-security-admission/admission/api/scheme"
	podsecurityvalidation "k8s.io/pod-security-admission/admission/api/validation"
	"sigs.k8s.io/yaml"
)

// roles are the names of user-data goldens of package templates. devcloud is a worker on devcloud.
var roles = []string{"control-plane", "worker", "devcloud"}

// files returns the files of a machine with this role: content by path. It reads the golden of package templates.
func files(t *testing.T, role string) map[string]string {
	t.Helper()
	text, err := os.ReadFile("../../../templates/testdata/" + role + ".yaml")
	require.NoError(t, err)
	var config struct {
		Files []struct{ Path, Content string } `json:"write_files"`
	}
	require.NoError(t, yaml.Unmarshal(text, &config))
	out := map[string]string{}
	for _, f := range config.Files {
		out[f.Path] = f.Content
	}
	return out
}

func TestFiles(t *testing.T) {
	for _, role := range roles {
		for name, content := range files(t, role) {
			if !strings.HasPrefix(name, "/etc/kubernetes/") || path.Ext(name) != ".yaml" && path.Ext(name) != ".conf" {
				continue
			}
			t.Run(role+name, func(t *testing.T) {
				for _, document := range documents(t, content) {
					check(t, document)
				}
			})
		}
	}
}

// documents returns the YAML documents of a file as JSON.
func documents(t *testing.T, content string) [][]byte {
	t.Helper()
	var out [][]byte
	reader := utilyaml.NewDocumentDecoder(nopCloser{strings.NewReader(content)})
	buffer := make([]byte, len(content)+1)
	for {
		n, err := reader.Read(buffer)
		if n > 0 {
			document, convertErr := yaml.YAMLToJSONStrict(buffer[:n])
			require.NoError(t, convertErr)
			if string(document) != "null" {
				out = append(out, document)
			}
		}
		if err != nil {
			return out
		}
	}
}

type nopCloser struct{ *strings.Reader }

func (nopCloser) Close() error { return nil }

// check decodes a document strictly with the types of its component, and validates it.
func check(t *testing.T, document []byte) {
	t.Helper()
	var kind struct{ APIVersion, Kind string }
	require.NoError(t, yaml.Unmarshal(document, &kind))
	group, _, _ := strings.Cut(kind.APIVersion, "/")
	scheme, known := schemes(t)[group]
	if kind.APIVersion == "v1" && kind.Kind == "Config" {
		scheme, known = clientcmdlatest.Scheme, true
	}
	if !known {
		scheme = clientscheme.Scheme // an object that is applied to the API
	}
	decoder := serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDecoder()
	if !known {
		decoder = serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer()
	}
	object, _, err := decoder.Decode(document, nil, nil)
	require.NoError(t, err, "%s", document)
	require.NoError(t, validate(t, object))
}

// schemes returns the schemes of the components by API group.
func schemes(t *testing.T) map[string]*runtime.Scheme {
	t.Helper()
	kubelet, _, err := kubeletscheme.NewSchemeAndCodecs(serializer.EnableStrict)
	require.NoError(t, err)
	server := runtime.NewScheme()
	apiserverinstall.Install(server)
	return map[string]*runtime.Scheme{
		"kubelet.config.k8s.io":                kubelet,
		"kubeproxy.config.k8s.io":              proxyscheme.Scheme,
		"kubescheduler.config.k8s.io":          schedulerscheme.Scheme,
		"apiserver.config.k8s.io":              server,
		"audit.k8s.io":                         audit.Scheme,
		"pod-security.admission.config.k8s.io": podsecurityscheme.Scheme,
	}
}

// validate validates an object with the code of its component.
func validate(t *testing.T, object runtime.Object) error {
	t.Helper()
	switch o := object.(type) {
	case *kubeletconfig.KubeletConfiguration:
		o.FailCgroupV1 = false // otherwise the validation checks the cgroup version of the test's host
		return kubeletvalidation.ValidateKubeletConfiguration(o, utilfeature.DefaultFeatureGate)
	case *proxyconfig.KubeProxyConfiguration:
		return proxyvalidation.Validate(o).ToAggregate()
	case *schedulerconfig.KubeSchedulerConfiguration:
		if err := schedulervalidation.ValidateKubeSchedulerConfiguration(o); err != nil {
			return err
		}
		return nil
	case *apiserver.AuthenticationConfiguration:
		compiler := authenticationcel.NewCompiler(environment.MustBaseEnvSet(environment.DefaultCompatibilityVersion()))
		return apiservervalidation.ValidateAuthenticationConfiguration(compiler, o, nil).ToAggregate()
	case *apiserver.AuthorizationConfiguration:
		compiler := authorizationcel.NewCompiler(environment.MustBaseEnvSet(environment.DefaultCompatibilityVersion()))
		return apiservervalidation.ValidateAuthorizationConfiguration(compiler, nil, o,
			sets.New(modes.AuthorizationModeChoices...), sets.New(modes.ModeWebhook)).ToAggregate()
	case *apiserver.EncryptionConfiguration:
		return apiservervalidation.ValidateEncryptionConfiguration(o, false).ToAggregate()
	case *apiserver.AdmissionConfiguration:
		for _, plugin := range o.Plugins {
			if plugin.Configuration != nil {
				check(t, plugin.Configuration.Raw)
			}
		}
		return nil
	case *podsecurityapi.PodSecurityConfiguration:
		return podsecurityvalidation.ValidatePodSecurityConfiguration(o).ToAggregate()
	case *auditapi.Policy:
		return auditvalidation.ValidatePolicy(o).ToAggregate()
	case *clientcmdapi.Config:
		return validateKubeconfig(o)
	}
	return nil // the API server validates the other kinds in the end-to-end tests
}

// validateKubeconfig checks that the names inside a kubeconfig exist. It does not check files, because they are on
// machines.
func validateKubeconfig(c *clientcmdapi.Config) error {
	current, ok := c.Contexts[c.CurrentContext]
	if !ok {
		return fmt.Errorf("current-context: must name a context, got %q", c.CurrentContext)
	}
	if _, ok := c.Clusters[current.Cluster]; !ok {
		return fmt.Errorf("context %s: must name a cluster, got %q", c.CurrentContext, current.Cluster)
	}
	if _, ok := c.AuthInfos[current.AuthInfo]; !ok {
		return fmt.Errorf("context %s: must name a user, got %q", c.CurrentContext, current.AuthInfo)
	}
	return nil
}

// commands are the components whose flags cobra parses.
var commands = map[string]func() *cobra.Command{
	"kube-apiserver":          apiserverapp.NewAPIServerCommand,
	"kube-controller-manager": controllermanagerapp.NewControllerManagerCommand,
	"kube-scheduler":          func() *cobra.Command { return schedulerapp.NewSchedulerCommand() },
	"kube-proxy":              proxyapp.NewProxyCommand,
}

func TestFlags(t *testing.T) {
	seen := map[string]bool{}
	for _, role := range roles {
		for name, content := range files(t, role) {
			component := strings.TrimSuffix(path.Base(name), ".service")
			if path.Dir(name) != "/etc/systemd/system" || !strings.HasPrefix(component, "kube") {
				continue
			}
			arguments := execStart(content, "/usr/local/bin/"+component)
			if arguments == nil {
				continue // the unit runs one of our scripts
			}
			t.Run(role+"/"+component, func(t *testing.T) {
				seen[component] = true
				if component == "kubelet" { // it parses its flags itself, because they override its file
					kubelet := kubeletapp.NewKubeletCommand(t.Context())
					for _, argument := range arguments {
						flag, _, _ := strings.Cut(strings.TrimPrefix(argument, "--"), "=")
						assert.Contains(t, kubelet.UsageString()+help(kubelet), "--"+flag+" ")
					}
					return
				}
				require.NoError(t, commands[component]().ParseFlags(arguments))
			})
		}
	}
	assert.Len(t, seen, 5)
}

// help returns the help text of a command.
func help(c *cobra.Command) string {
	var out strings.Builder
	c.SetOut(&out)
	_ = c.Help()
	return out.String()
}

// execStart returns the arguments of the program in a unit, or nil if the unit runs another program.
func execStart(unit, program string) []string {
	_, rest, found := strings.Cut(strings.ReplaceAll(unit, "\\\n", " "), "\nExecStart="+program)
	if !found {
		return nil
	}
	line, _, _ := strings.Cut(rest, "\n")
	return strings.Fields(line)
}
