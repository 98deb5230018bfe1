package templates

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha1"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"

	"kubernetes-openstack/cluster"
	"kubernetes-openstack/internal/bootstraptoken"
)

// sizes are the limits in bytes of gzip for a machine's user-data in this test. They are close to the current
// sizes, so that growth is noticed long before Nova's limit. Keys are random, so a size varies by 130 bytes.
var sizes = map[cluster.Role]int{cluster.RoleEtcd: 11_360, cluster.RoleControlPlane: 29_568, cluster.RoleWorker: 17_088}

// TestUserDataIsSmall checks each machine of the development cluster and of the production example, with
// certificates and keys like the provider's.
func TestUserDataIsSmall(t *testing.T) {
	for stack, file := range map[string]string{"dev": "../Pulumi.dev.yaml", "prod": "../examples/Pulumi.prod.yaml"} {
		plan := stackPlan(t, stack, file)
		parts, renderer := issue(t, plan), NewRenderer(plan)
		largest := map[cluster.Role]int{}
		for _, m := range plan.Machines {
			secret := strings.Repeat("0123456789abcdef", 4)
			in := Inputs{VolumeID: "4f1c0d9e-2b7a-4c55-9e2e-0123456789ab", EncryptionKey: secret,
				BootstrapSeed: bootstraptoken.NewSeed(secret, m.ID, m.Address),
				BackupID:      secret[:32], BackupSecret: rand.Text() + rand.Text() + rand.Text() + rand.Text()[:8]}
			for _, f := range m.PKI {
				var content string
				for _, of := range f.Of {
					content += parts[of][f.Part]
				}
				in.PKI = append(in.PKI, content)
			}
			data, err := renderer.UserData(m, in)
			require.NoError(t, err)
			packed, err := base64.StdEncoding.DecodeString(data)
			require.NoError(t, err)
			largest[m.Role] = max(largest[m.Role], len(packed))
		}
		for role, limit := range sizes {
			t.Logf("%s: %s: %d bytes of user-data, gzipped; at most %d", stack, role, largest[role], limit)
			assert.LessOrEqual(t, largest[role], limit, "%s: %s", stack, role)
		}
	}
}

func stackPlan(t *testing.T, stack, file string) cluster.Plan {
	t.Helper()
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	var parsed struct {
		Config map[string]any `json:"config"`
	}
	require.NoError(t, yaml.Unmarshal(text, &parsed))
	text, err = json.Marshal(plainSecrets(parsed.Config["kubernetes-openstack:cluster"]))
	require.NoError(t, err)
	config, err := cluster.Decode(stack, string(text))
	require.NoError(t, err)
	return cluster.NewPlan(config)
}

// plainSecrets replaces each encrypted value with a plain text.
func plainSecrets(v any) any {
	switch v := v.(type) {
	case map[string]any:
		if _, ok := v["secure"]; ok {
			return "secret"
		}
		for key := range v {
			v[key] = plainSecrets(v[key])
		}
	case []any:
		for i := range v {
			v[i] = plainSecrets(v[i])
		}
	}
	return v
}

// issue creates all authorities, keys and certificates of plan in PEM.
func issue(t *testing.T, plan cluster.Plan) map[string]map[cluster.Part]string {
	t.Helper()
	out := map[string]map[cluster.Part]string{}
	encode := func(kind string, der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	newKey := func(name string) *ecdsa.PrivateKey {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		require.NoError(t, err)
		private, err := x509.MarshalECPrivateKey(key)
		require.NoError(t, err)
		public, err := x509.MarshalPKIXPublicKey(key.Public())
		require.NoError(t, err)
		out[name] = map[cluster.Part]string{
			cluster.PartPrivateKey: encode("EC PRIVATE KEY", private), cluster.PartPublicKey: encode("PUBLIC KEY", public),
		}
		return key
	}
	serial := func() *big.Int {
		n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 128))
		require.NoError(t, err)
		return n
	}
	begin := time.Date(2026, 11, 29, 22, 0, 0, 0, time.UTC)
	authorities, keys := map[string]*x509.Certificate{}, map[string]*ecdsa.PrivateKey{}
	for _, a := range plan.Authorities {
		key := newKey(a.Name)
		spki, err := x509.MarshalPKIXPublicKey(key.Public())
		require.NoError(t, err)
		id := sha1.Sum(spki)
		der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
			SerialNumber: serial(), Subject: pkix.Name{CommonName: a.CommonName}, NotBefore: begin,
			NotAfter: begin.AddDate(10, 0, 0),
			IsCA:     true, BasicConstraintsValid: true,
			KeyUsage:     x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature,
			SubjectKeyId: id[:],
		}, &x509.Certificate{Subject: pkix.Name{CommonName: a.CommonName}}, key.Public(), key)
		require.NoError(t, err)
		authorities[a.Name], err = x509.ParseCertificate(der)
		require.NoError(t, err)
		keys[a.Name] = key
		out[a.Name][cluster.PartCertificate] = encode("CERTIFICATE", der)
	}
	for _, k := range plan.Keys {
		newKey(k.Name)
	}
	for _, c := range plan.Certificates {
		key := newKey(c.Name)
		leaf := &x509.Certificate{
			SerialNumber: serial(), Subject: pkix.Name{CommonName: c.CommonName}, NotBefore: begin,
			NotAfter: begin.AddDate(3, 0, 0),
			DNSNames: c.DNSNames, BasicConstraintsValid: true,
			KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
		}
		if c.Organization != "" {
			leaf.Subject.Organization = []string{c.Organization}
		}
		if c.Server {
			leaf.ExtKeyUsage = append(leaf.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
		}
		if c.Client {
			leaf.ExtKeyUsage = append(leaf.ExtKeyUsage, x509.ExtKeyUsageClientAuth)
		}
		for _, address := range c.Addresses {
			leaf.IPAddresses = append(leaf.IPAddresses, address.AsSlice())
		}
		der, err := x509.CreateCertificate(rand.Reader, leaf, authorities[c.Authority], key.Public(), keys[c.Authority])
		require.NoError(t, err)
		out[c.Name][cluster.PartCertificate] = encode("CERTIFICATE", der)
	}
	return out
}

// TestWithoutPublicKey checks that the shortened key is the same key: it signs for the certificate, with Go's
// library and with openssl.
func TestWithoutPublicKey(t *testing.T) {
	parts := issue(t, stackPlan(t, "dev", "../Pulumi.dev.yaml"))[cluster.AdminCertificate]
	short := withoutPublicKey(parts[cluster.PartPrivateKey])
	assert.Less(t, len(short), 140)
	_, err := tls.X509KeyPair([]byte(parts[cluster.PartCertificate]), []byte(short))
	require.NoError(t, err)
	openssl := exec.Command("openssl", "pkey", "-pubout")
	openssl.Stdin = strings.NewReader(short)
	public, err := openssl.CombinedOutput()
	require.NoError(t, err, string(public))
	assert.Equal(t, parts[cluster.PartPublicKey], string(public))

	for _, other := range []string{"", "PRIVATE KEY admin", parts[cluster.PartCertificate]} {
		assert.Equal(t, other, withoutPublicKey(other))
	}
}
