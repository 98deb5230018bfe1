package templates

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"math/big"
	mathrand "math/rand/v2"
	"net/netip"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"kubernetes-openstack/cluster"
)

// TestCheckUserData checks that user-data that is too large for Nova fails at preview, when no certificate
// exists yet, with an error at the group.
func TestCheckUserData(t *testing.T) {
	plan := cluster.NewPlan(cluster.Config{
		Name: "test",
		Network: cluster.Network{CIDR: netip.MustParsePrefix("10.0.0.0/24"),
			ServiceCIDR: netip.MustParsePrefix("10.96.0.0/16")},
		Etcd: cluster.Etcd{Version: "3.6.14",
			Group: cluster.Group{Count: 1, Addresses: netip.MustParsePrefix("10.0.0.16/28")}},
	})
	assert.NoError(t, CheckUserData(plan))
	for i := range 100 {
		plan.Machines[0].PKI = append(plan.Machines[0].PKI, cluster.PKIFile{
			Path: fmt.Sprintf("/etc/etcd/pki/%d.crt", i), Of: []string{cluster.EtcdCA}, Part: cluster.PartCertificate,
		})
	}
	err := CheckUserData(plan)
	assert.ErrorContains(t, err, "etcd: user-data of test-etcd-0: ")
	assert.ErrorContains(t, err, "49151 are allowed")
}

// TestCheckUserDataOfZones checks that the check finds the zone of a group whose longer name makes the user-data too
// large, and reports it once for all machines.
func TestCheckUserDataOfZones(t *testing.T) {
	check := func(labels int) error {
		c := cluster.Defaults("test")
		block := netip.MustParsePrefix
		c.Network.CIDR = block("10.0.0.0/16")
		c.Artifacts.Checksums = map[string]string{"node-approver": strings.Repeat("0", 64)}
		c.Etcd.Addresses, c.ControlPlane.Addresses = block("10.0.1.0/28"), block("10.0.1.16/28")
		c.Pools = []cluster.Pool{{Name: "general", NodeGroup: cluster.NodeGroup{
			Group: cluster.Group{Count: 200, Addresses: block("10.0.2.0/24"),
				Zones: []string{"a", "b0c1d2e3f4g5h6i7j8k9l0m1n2o3p4q5r6s7t8u9v0w1x2y3z4-5a6b7c8d9"}},
			Labels: map[string]string{},
		}}}
		for i := range labels {
			sum := sha256.Sum256([]byte{byte(i), byte(i >> 8)})
			c.Pools[0].Labels[hex.EncodeToString(sum[:2])] = hex.EncodeToString(sum[2:5])
		}
		return CheckUserData(cluster.NewPlan(c))
	}
	enough := sort.Search(5000, func(labels int) bool { return check(labels) != nil })
	err := check(enough)
	require.ErrorContains(t, err, "1 error:\n  pools[0]: user-data of test-general-101: ")
}

// TestCheckUserDataOfABundle checks that a bundle of CA certificates that does not fit into user-data is reported at
// its path, if machines have it in their user-data.
func TestCheckUserDataOfABundle(t *testing.T) {
	noise := make([]byte, 40_000)
	source := mathrand.NewChaCha8([32]byte{})
	_, err := source.Read(noise)
	require.NoError(t, err)
	c := cluster.Defaults("test")
	block := netip.MustParsePrefix
	c.Network.CIDR = block("10.0.0.0/24")
	c.Artifacts.Checksums = map[string]string{"node-approver": strings.Repeat("0", 64)}
	c.Etcd.Addresses, c.ControlPlane.Addresses = block("10.0.0.16/28"), block("10.0.0.32/28")
	c.OpenStack.AuthURL = "https://keystone.example.com:5000/v3"
	c.OpenStack.CACertificate = base64.StdEncoding.EncodeToString(noise)
	assert.NoError(t, CheckUserData(cluster.NewPlan(c)), "no machine has the bundle")
	c.Tenancy.Enabled = true
	err = CheckUserData(cluster.NewPlan(c))
	require.ErrorContains(t, err,
		"1 error:\n  openstack.caCertificate: must be shorter: user-data of test-control-plane-0: ")
	assert.ErrorContains(t, err, "biggest files: /etc/kubernetes/keystone-ca.crt")

	c.Tenancy.Enabled, c.Artifacts.CACertificate, c.OpenStack.CACertificate = false, c.OpenStack.CACertificate, ""
	err = CheckUserData(cluster.NewPlan(c))
	require.ErrorContains(t, err, "1 error:\n  artifacts.caCertificate: must be shorter: user-data of test-etcd-0: ")
}

// TestPEMSize checks that the stand-ins are not smaller than the real parts, and not much larger. The cluster
// has the longest names.
func TestPEMSize(t *testing.T) {
	plan := cluster.NewPlan(cluster.Config{
		Tenancy: cluster.Tenancy{Enabled: true},
		Name:    strings.Repeat("x", 47), // the longest hostname adds -control-plane-0
		Network: cluster.Network{CIDR: netip.MustParsePrefix("10.0.0.0/24"),
			ServiceCIDR: netip.MustParsePrefix("10.96.0.0/16")},
		API:          cluster.API{Address: netip.MustParseAddr("10.0.0.10"), FloatingIP: true},
		Etcd:         cluster.Etcd{Group: cluster.Group{Count: 1, Addresses: netip.MustParsePrefix("10.0.0.16/28")}},
		ControlPlane: cluster.NodeGroup{Group: cluster.Group{Count: 1, Addresses: netip.MustParsePrefix("10.0.0.32/28")}},
	})
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	private, err := x509.MarshalECPrivateKey(key)
	require.NoError(t, err)
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	require.NoError(t, err)
	size := func(kind string, der []byte) int { return len(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})) }
	short := withoutPublicKey(string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: private})))
	assert.LessOrEqual(t, len(short), pemSize(plan, cluster.AdminCertificate, cluster.PartPrivateKey))
	assert.LessOrEqual(t, size("PUBLIC KEY", public), pemSize(plan, cluster.ServiceAccountKey, cluster.PartPublicKey))
	for _, c := range plan.Certificates {
		leaf := &x509.Certificate{
			SerialNumber: new(big.Int).Lsh(big.NewInt(1), 158),
			Subject:      pkix.Name{CommonName: c.CommonName, Organization: []string{c.Organization}},
			NotAfter:     time.Now(), DNSNames: c.DNSNames, BasicConstraintsValid: true,
			KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		}
		addresses := c.Addresses
		if c.FloatingIP {
			addresses = append(addresses, netip.MustParseAddr("203.0.113.10"))
		}
		for _, address := range addresses {
			leaf.IPAddresses = append(leaf.IPAddresses, address.AsSlice())
		}
		authority := &x509.Certificate{Subject: pkix.Name{CommonName: "kubernetes-front-proxy"},
			SubjectKeyId: make([]byte, 20)}
		der, err := x509.CreateCertificate(rand.Reader, leaf, authority, key.Public(), key)
		require.NoError(t, err)
		assert.LessOrEqual(t, size("CERTIFICATE", der), pemSize(plan, c.Name, cluster.PartCertificate), c.Name)
		assert.Greater(t, size("CERTIFICATE", der), pemSize(plan, c.Name, cluster.PartCertificate)*4/5, c.Name)
	}
	for _, a := range plan.Authorities {
		self := &x509.Certificate{
			SerialNumber: new(big.Int).Lsh(big.NewInt(1), 158), Subject: pkix.Name{CommonName: a.CommonName},
			NotAfter: time.Now(),
			IsCA:     true, BasicConstraintsValid: true,
			KeyUsage:     x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature,
			SubjectKeyId: make([]byte, 20), AuthorityKeyId: make([]byte, 20),
		}
		der, err := x509.CreateCertificate(rand.Reader, self, self, key.Public(), key)
		require.NoError(t, err)
		assert.LessOrEqual(t, size("CERTIFICATE", der), pemSize(plan, a.Name, cluster.PartCertificate), a.Name)
	}
}
