package openstack

import (
	"os"

	"github.com/gophercloud/utils/v2/openstack/clientconfig"
)

// Environment is what the environment variables and clouds.yaml say about the login, without a request to the cloud.
type Environment struct {
	// Region is the region of the OpenStack provider's resources. It is empty if nothing selects a region.
	Region string
	// RegionFrom is the variable or the file that selects Region.
	RegionFrom string
	// OtherRegion is the region of the cloud in clouds.yaml, if Region is another one. The OpenStack provider uses Region,
	// and the rest of this repository uses OtherRegion.
	OtherRegion string
	// ApplicationCredential is true if the login uses an application credential.
	ApplicationCredential bool
}

// ReadEnvironment reads the environment like the OpenStack provider: a variable comes before the cloud of OS_CLOUD. A
// cloud that clouds.yaml does not have is no error here, because a preview needs no login.
func ReadEnvironment() Environment {
	e := Environment{Region: os.Getenv("OS_REGION_NAME"), RegionFrom: "OS_REGION_NAME"}
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
	switch e.Region {
	case "":
		e.Region, e.RegionFrom = cloud.RegionName, "cloud "+name+" in clouds.yaml"
	case cloud.RegionName:
	default:
		e.OtherRegion = cloud.RegionName
	}
	if auth := cloud.AuthInfo; auth != nil && auth.ApplicationCredentialID+auth.ApplicationCredentialName != "" {
		e.ApplicationCredential = true
	}
	return e
}
