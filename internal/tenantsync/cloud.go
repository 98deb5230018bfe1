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

// Cloud contains the address of OpenStack and the credentials of the reader. The reader needs the role reader on the
// system to read all of Keystone. It also needs the inherited role reader on each domain to read the projects' quotas.
type Cloud struct {
	// AuthURL is the address of Keystone. It may end in /v3.
	AuthURL string `json:"authURL"`
	// CA contains the authorities of OpenStack's certificates in PEM. If it is empty, the machine's authorities apply.
	CA string `json:"ca,omitempty"`
	// Region is required if the cloud has several regions.
	Region string `json:"region,omitempty"`
	// Interface is the interface of the endpoints: public, internal or admin. The default is public.
	Interface string `json:"interface,omitempty"`
	// Username is the reader's name in the domain with the name UserDomain.
	Username   string `json:"username"`
	UserDomain string `json:"userDomain"`
	Password   string `json:"password"`
}

// session is a login of the reader.
type session struct {
	Cloud
	http http.Client
	// token has no scope, because Keystone issues no project token for a system token.
	token string
	// userID is the ID of the reader.
	userID   string
	identity *gophercloud.ServiceClient
}

// login sends the password once. All further tokens come from the first one, because Keystone's check of a password is
// slow on purpose.
func (c Cloud) login(ctx context.Context) (*session, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = maxParallel
	if c.CA != "" {
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM([]byte(c.CA)) {
			return nil, errors.New("ca: must contain certificates in PEM")
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: pool}
	}
	s := &session{Cloud: c, http: http.Client{Transport: transport, Timeout: time.Minute}}
	password := gophercloud.AuthOptions{Username: c.Username, DomainName: c.UserDomain, Password: c.Password}
	provider, err := s.authenticate(ctx, password)
	if err != nil {
		return nil, fmt.Errorf("log in to %s as %s of domain %s: %w", c.AuthURL, c.Username, c.UserDomain, err)
	}
	s.token = provider.Token()
	result, _ := provider.GetAuthResult().(tokens.CreateResult)
	user, err := result.ExtractUser()
	if err != nil {
		return nil, err
	}
	s.userID = user.ID

	system, err := s.authenticate(ctx,
		gophercloud.AuthOptions{TokenID: s.token, Scope: &gophercloud.AuthScope{System: true}})
	if gophercloud.ResponseCodeIs(err, http.StatusUnauthorized) {
		return nil, fmt.Errorf("%w\n"+
			"%s has no role on the system, run: openstack role add --user %s --user-domain %s --system all reader",
			err, c.Username, c.Username, c.UserDomain)
	} else if err != nil {
		return nil, err
	}
	s.identity, err = openstack.NewIdentityV3(system, s.endpoint())
	return s, err
}

func (s *session) authenticate(ctx context.Context,
	options gophercloud.AuthOptions) (*gophercloud.ProviderClient, error) {
	provider, err := openstack.NewClient(s.AuthURL)
	if err != nil {
		return nil, err
	}
	provider.HTTPClient = s.http
	return provider, openstack.AuthenticateV3(ctx, provider, &options, gophercloud.EndpointOpts{})
}

func (c Cloud) endpoint() gophercloud.EndpointOpts {
	return gophercloud.EndpointOpts{Region: c.Region, Availability: gophercloud.Availability(c.Interface)}
}
