package main

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/clientcmd/api"

	"kubernetes-openstack/internal/tenancy"
)

const hint = "download client-keystone-auth from https://github.com/kubernetes/cloud-provider-openstack/releases " +
	"to a folder in PATH"

// kubeconfig returns the kubeconfig for the users of a project. namespace is the project's namespace. Only
// the cluster comes from the administrators' kubeconfig.
//
// The plugin client-keystone-auth can get its settings in two ways. With flags and at a terminal, it requires
// the name of a domain and of a user, even for an application credential. It also uses the same domain for
// user and project. Otherwise it reads all OS_* variables as OpenStack's command line does, or clouds.yaml.
// The kubeconfig gives it no terminal and one empty flag, so that it uses the second way. The project is that
// of the namespace, and overrides the variables. An application credential already has a project, and ignores
// this setting.
func kubeconfig(administrators api.Config, namespace corev1.Namespace) api.Config {
	cluster := administrators.Contexts[administrators.CurrentContext].Cluster
	name := cluster + "-" + namespace.Name
	return api.Config{
		Clusters: map[string]*api.Cluster{cluster: administrators.Clusters[cluster]},
		AuthInfos: map[string]*api.AuthInfo{name: {Exec: &api.ExecConfig{
			APIVersion:      "client.authentication.k8s.io/v1beta1",
			Command:         "client-keystone-auth",
			Args:            []string{"--keystone-url="},
			Env:             []api.ExecEnvVar{{Name: "OS_PROJECT_ID", Value: namespace.Labels[tenancy.ProjectLabel]}},
			InteractiveMode: api.NeverExecInteractiveMode,
			InstallHint:     hint,
		}}},
		Contexts:       map[string]*api.Context{name: {Cluster: cluster, AuthInfo: name, Namespace: namespace.Name}},
		CurrentContext: name,
	}
}
