package tenantsync

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/tokens"
)

// Cloud is how OpenStack's APIs are reached, as a user who may read all of Keystone (role reader on the system) and the
// quotas of each project (role reader inherited on each domain).
type Cloud struct {
	// AuthURL of Keystone, which may end in /v3.
	AuthURL string `json:"authURL"`
	// CA is PEM: who signed OpenStack's certificates, where the machine does not know them.
	CA string `json:"ca,omitempty"`
	// Region, where there are several.
	Region string `json:"region,omitempty"`
	// Interface is which endpoints are used: public, internal or admin. Where empty: public.
	Interface string `json:"interface,omitempty"`
	// Username of a user of the domain of the name UserDomain.
	Username   string `json:"username"`
	UserDomain string `json:"userDomain"`
	Password   string `json:"password"`
}

// reader is a login.
type reader struct {
	Cloud
	http http.Client
	// token has no scope: Keystone gives one for a project for it, which it does not for one for the system.
	token string
	// userID is the reader's own.
	userID   string
	identity *gophercloud.ServiceClient
}

// login shows the password once. It is made slow to check, so that nobody can try many: for every project it would keep
// Keystone busy.
func (c Cloud) login(ctx context.Context) (*reader, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = parallel
	if c.CA != "" {
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM([]byte(c.CA)) {
			return nil, errors.New("ca: must be certificates in PEM")
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: pool}
	}
	r := &reader{Cloud: c, http: http.Client{Transport: transport, Timeout: time.Minute}}
	password := gophercloud.AuthOptions{Username: c.Username, DomainName: c.UserDomain, Password: c.Password}
	provider, err := r.authenticate(ctx, password)
	if err != nil {
		return nil, fmt.Errorf("log in to %s as %s of domain %s: %w", c.AuthURL, c.Username, c.UserDomain, err)
	}
	r.token = provider.Token()
	result, _ := provider.GetAuthResult().(tokens.CreateResult)
	user, err := result.ExtractUser()
	if err != nil {
		return nil, err
	}
	r.userID = user.ID

	system, err := r.authenticate(ctx,
		gophercloud.AuthOptions{TokenID: r.token, Scope: &gophercloud.AuthScope{System: true}})
	if gophercloud.ResponseCodeIs(err, http.StatusUnauthorized) {
		return nil, fmt.Errorf("%w\n"+
			"%s has no role on the system: openstack role add --user %s --user-domain %s --system all reader",
			err, c.Username, c.Username, c.UserDomain)
	} else if err != nil {
		return nil, err
	}
	r.identity, err = openstack.NewIdentityV3(system, r.endpoint())
	return r, err
}

func (r *reader) authenticate(ctx context.Context,
	options gophercloud.AuthOptions) (*gophercloud.ProviderClient, error) {
	provider, err := openstack.NewClient(r.AuthURL)
	if err != nil {
		return nil, err
	}
	provider.HTTPClient = r.http
	return provider, openstack.AuthenticateV3(ctx, provider, &options, gophercloud.EndpointOpts{})
}

func (c Cloud) endpoint() gophercloud.EndpointOpts {
	return gophercloud.EndpointOpts{Region: c.Region, Availability: gophercloud.Availability(c.Interface)}
}
