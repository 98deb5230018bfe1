package openstack

import (
	"os"

	"github.com/gophercloud/utils/v2/openstack/clientconfig"
)

// Environment is what the environment variables and clouds.yaml say about the login, without a request to the cloud.
type Environment struct {
	// Provider is the region in which the OpenStack provider creates resources. A variable comes before the cloud of
	// OS_CLOUD.
	Provider Region
	// Clients is the region in which this repository reads consoles and finds what is left over. The cloud of OS_CLOUD
	// comes before a variable.
	Clients Region
	// ApplicationCredential is true if the login uses an application credential.
	ApplicationCredential bool
}

// Region is the name of a region, and the variable or the file that selects it. Both are empty if nothing selects one.
type Region struct{ Name, From string }

// ReadEnvironment reads the environment. A cloud that clouds.yaml does not have is no error here, because a preview
// needs no login.
func ReadEnvironment() Environment {
	e := Environment{}
	if region := os.Getenv("OS_REGION_NAME"); region != "" {
		e.Provider = Region{region, "OS_REGION_NAME"}
		e.Clients = e.Provider
	}
	for _, name := range []string{"OS_APPLICATION_CREDENTIAL_ID", "OS_APPLICATION_CREDENTIAL_NAME"} {
		e.ApplicationCredential = e.ApplicationCredential || os.Getenv(name) != ""
	}
	name := os.Getenv("OS_CLOUD")
	if name == "" {
		return e
	}
	cloud, err := clientconfig.GetCloudFromYAML(&clientconfig.ClientOpts{Cloud: name})
	if err != nil || cloud == nil {
		return e
	}
	if cloud.RegionName != "" {
		e.Clients = Region{cloud.RegionName, "cloud " + name + " in clouds.yaml"}
		if e.Provider.Name == "" {
			e.Provider = e.Clients
		}
	}
	if auth := cloud.AuthInfo; auth != nil && auth.ApplicationCredentialID+auth.ApplicationCredentialName != "" {
		e.ApplicationCredential = true
	}
	return e
}
