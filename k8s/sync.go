package k8s

import (
	"cmp"
	"context"
	"os"
	"time"

	"github.com/gophercloud/utils/v2/openstack/clientconfig"
	utilwait "k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/tools/clientcmd"

	"kubernetes-openstack/internal/tenancy"
	"kubernetes-openstack/internal/tenantsync"
)

// Syncer updates the tenants of the cluster with this kubeconfig to those of OpenStack, and passes the changes
// to log. cloud has the address of OpenStack that machines use. SyncTenants is the real implementation.
type Syncer func(ctx context.Context, kubeconfig string, cloud tenantsync.Cloud, settings tenancy.Settings,
	log func(line string) error) error

// SyncTenants is a Syncer. It uses the address of OpenStack that this host uses, and the reader's credentials
// from cloud. It repeats failed attempts, and returns the last error.
func SyncTenants(ctx context.Context, kubeconfig string, cloud tenantsync.Cloud, settings tenancy.Settings,
	log func(line string) error) error {
	kube, err := clientcmd.RESTConfigFromKubeConfig([]byte(kubeconfig))
	if err != nil {
		return err
	}
	if cloud, err = withHostAddress(cloud); err != nil {
		return err
	}
	return retry(ctx, log, func() error {
		// control planes create the authorizer's policy themselves, so the result is not used here
		_, err := tenantsync.Sync(ctx, kube, cloud, settings, log)
		return err
	})
}

// retry calls do up to three times, until it succeeds. A young cluster's API address may move to another
// control plane during a call.
func retry(ctx context.Context, log func(line string) error, do func() error) error {
	var failed error
	backoff := utilwait.Backoff{Steps: 3, Duration: pause}
	ended := utilwait.ExponentialBackoffWithContext(ctx, backoff, func(context.Context) (bool, error) {
		if failed != nil {
			if err := log("retry after: " + failed.Error()); err != nil {
				return false, err
			}
		}
		failed = do()
		return failed == nil, nil
	})
	return cmp.Or(failed, ended)
}

// pause is the time that retry waits between two calls.
var pause = 10 * time.Second

// withHostAddress returns cloud with the address, authority, region and interface of OS_CLOUD or the OS_*
// variables.
func withHostAddress(cloud tenantsync.Cloud) (tenantsync.Cloud, error) {
	options, err := clientconfig.AuthOptions(nil)
	if err != nil {
		return cloud, err
	}
	named := &clientconfig.Cloud{}
	if os.Getenv("OS_CLOUD") != "" {
		if named, err = clientconfig.GetCloudFromYAML(nil); err != nil {
			return cloud, err
		}
	}
	cloud.AuthURL, cloud.CA = options.IdentityEndpoint, ""
	if file := cmp.Or(named.CACertFile, os.Getenv("OS_CACERT")); file != "" {
		ca, err := os.ReadFile(file)
		if err != nil {
			return cloud, err
		}
		cloud.CA = string(ca)
	}
	cloud.Region = cmp.Or(named.RegionName, os.Getenv("OS_REGION_NAME"), cloud.Region)
	cloud.Interface = string(clientconfig.GetEndpointType(cmp.Or(named.EndpointType, os.Getenv("OS_INTERFACE"))))
	return cloud, nil
}
