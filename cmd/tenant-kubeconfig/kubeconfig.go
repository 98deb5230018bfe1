package main

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/clientcmd/api"

	"kubernetes-openstack/internal/tenancy"
)

const hint = "client-keystone-auth is one of https://github.com/kubernetes/cloud-provider-openstack/releases, and " +
	"must be in PATH"

// kubeconfig is for the people of a project, whose namespace this is: of the administrators', it has the cluster alone.
//
// The plugin knows two ways to its settings. By its flags and at a terminal it wants a domain's name and a
// user's even with an application credential, and has one domain for user and project; without, it reads all
// OS_* variables as OpenStack's command line does, or clouds.yaml. So it gets no terminal, and an empty
// flag, for it to take the second. The project is the namespace's, whichever the variables name: an
// application credential has one already, and ignores this.
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
