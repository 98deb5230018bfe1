package infra

import (
	"crypto/sha256"
	"encoding/hex"

	"github.com/pulumi/pulumi-tls/sdk/v5/go/tls"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"kubernetes-openstack/cluster"
)

// The validity of certificates, in hours. The first `pulumi up` in the last 90 days of a leaf certificate
// renews it, and replaces the machines that hold it.
const (
	hoursPerYear         = 365 * 24
	authorityHours       = 10 * hoursPerYear
	certificateHours     = 3 * hoursPerYear
	certificateRenewable = 90 * 24
)

// PKI holds the certificate authorities of the cluster and the certificates that they signed. Private keys
// exist in the stack's state, where they are encrypted, and on the machines that the Plan assigns them to.
type PKI struct {
	pulumi.ResourceState
	parts        map[string]map[cluster.Part]pulumi.StringOutput
	certificates []pulumi.Resource
}

// NewPKI declares all authorities, keys and certificates of the Plan.
func NewPKI(ctx *pulumi.Context, plan cluster.Plan, endpoint *Endpoint) (*PKI, error) {
	p := &PKI{parts: map[string]map[cluster.Part]pulumi.StringOutput{}}
	child, err := component(ctx, "PKI", plan.Name, p)
	if err != nil {
		return nil, err
	}
	for _, a := range plan.Authorities {
		if err := p.authority(ctx, plan.Name+"-"+a.Name, a, child); err != nil {
			return nil, err
		}
	}
	for _, k := range plan.Keys {
		key, err := newKey(ctx, plan.Name+"-"+k.Name, child)
		if err != nil {
			return nil, err
		}
		p.parts[k.Name] = map[cluster.Part]pulumi.StringOutput{
			cluster.PartPrivateKey: key.PrivateKeyPem, cluster.PartPublicKey: key.PublicKeyPem,
		}
	}
	for _, c := range plan.Certificates {
		if err := p.certificate(ctx, plan.Name+"-"+c.Name, c, endpoint, child); err != nil {
			return nil, err
		}
	}
	return p, ctx.RegisterResourceOutputs(p, pulumi.Map{})
}

// Part returns a part of an authority, key or certificate in PEM.
func (p *PKI) Part(of string, part cluster.Part) pulumi.StringOutput { return p.parts[of][part] }

// Derived returns a secret of 64 hexadecimal digits, which does not change while the key stays the same.
func (p *PKI) Derived(key string) pulumi.StringOutput {
	return p.Part(key, cluster.PartPrivateKey).ApplyT(func(pem string) string {
		sum := sha256.Sum256([]byte(pem))
		return hex.EncodeToString(sum[:])
	}).(pulumi.StringOutput)
}

func (p *PKI) authority(ctx *pulumi.Context, name string, a cluster.Authority, child pulumi.ResourceOption) error {
	key, err := newKey(ctx, name, child)
	if err != nil {
		return err
	}
	cert, err := tls.NewSelfSignedCert(ctx, name, &tls.SelfSignedCertArgs{
		PrivateKeyPem:       key.PrivateKeyPem,
		Subject:             tls.SelfSignedCertSubjectArgs{CommonName: pulumi.String(a.CommonName)},
		IsCaCertificate:     pulumi.Bool(true),
		SetSubjectKeyId:     pulumi.Bool(true),
		AllowedUses:         pulumi.ToStringArray([]string{"cert_signing", "crl_signing", "digital_signature"}),
		ValidityPeriodHours: pulumi.Int(authorityHours),
	}, child)
	if err != nil {
		return err
	}
	p.parts[a.Name] = map[cluster.Part]pulumi.StringOutput{
		cluster.PartPrivateKey: key.PrivateKeyPem, cluster.PartCertificate: cert.CertPem,
	}
	return nil
}

func (p *PKI) certificate(ctx *pulumi.Context, name string, c cluster.Certificate, endpoint *Endpoint,
	child pulumi.ResourceOption) error {
	key, err := newKey(ctx, name, child)
	if err != nil {
		return err
	}
	subject := tls.CertRequestSubjectArgs{CommonName: pulumi.String(c.CommonName), Organization: optional(c.Organization)}
	addresses := stringArray(c.Addresses)
	if c.FloatingIP {
		addresses = append(addresses, endpoint.Host)
	}
	request, err := tls.NewCertRequest(ctx, name, &tls.CertRequestArgs{
		PrivateKeyPem: key.PrivateKeyPem,
		Subject:       subject,
		DnsNames:      pulumi.ToStringArray(c.DNSNames),
		IpAddresses:   addresses,
	}, child)
	if err != nil {
		return err
	}
	uses := []string{"digital_signature", "key_encipherment"}
	if c.Server {
		uses = append(uses, "server_auth")
	}
	if c.Client {
		uses = append(uses, "client_auth")
	}
	cert, err := tls.NewLocallySignedCert(ctx, name, &tls.LocallySignedCertArgs{
		CaCertPem:           p.Part(c.Authority, cluster.PartCertificate),
		CaPrivateKeyPem:     p.Part(c.Authority, cluster.PartPrivateKey),
		CertRequestPem:      request.CertRequestPem,
		AllowedUses:         pulumi.ToStringArray(uses),
		ValidityPeriodHours: pulumi.Int(certificateHours),
		EarlyRenewalHours:   pulumi.Int(certificateRenewable),
	}, child)
	if err != nil {
		return err
	}
	p.certificates = append(p.certificates, cert)
	p.parts[c.Name] = map[cluster.Part]pulumi.StringOutput{
		cluster.PartPrivateKey: key.PrivateKeyPem, cluster.PartCertificate: cert.CertPem,
	}
	return nil
}

func newKey(ctx *pulumi.Context, name string, child pulumi.ResourceOption) (*tls.PrivateKey, error) {
	return tls.NewPrivateKey(ctx, name, &tls.PrivateKeyArgs{
		Algorithm:  pulumi.String("ECDSA"),
		EcdsaCurve: pulumi.String("P256"),
	}, child)
}
