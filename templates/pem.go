package templates

import (
	"encoding/asn1"
	"encoding/pem"
	"strings"

	"kubernetes-openstack/cluster"
)

// withoutPublicKey returns a private key in PEM without its public key, because every reader computes the
// public key. This removes half of the bytes, which gzip cannot shorten. The function returns any text other
// than an EC key unchanged, such as a stand-in in a preview.
func withoutPublicKey(text string) string {
	block, _ := pem.Decode([]byte(text))
	if block == nil || block.Type != "EC PRIVATE KEY" {
		return text
	}
	var key struct { // ECPrivateKey of RFC 5915
		Version    int
		PrivateKey []byte
		Curve      asn1.ObjectIdentifier `asn1:"explicit,tag:0"`
		PublicKey  asn1.BitString        `asn1:"explicit,tag:1,optional"`
	}
	if _, err := asn1.Unmarshal(block.Bytes, &key); err != nil {
		return text
	}
	key.PublicKey = asn1.BitString{}
	der, err := asn1.Marshal(key)
	if err != nil {
		return text
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: der}))
}

// pemSize returns a lower bound, in bytes, for the PEM text of a part of the Plan. It is for previews, when
// no part exists yet. A certificate grows with its names, and a P-256 key has a constant size.
func pemSize(plan cluster.Plan, of string, part cluster.Part) int {
	switch part {
	case cluster.PartPrivateKey:
		return 140
	case cluster.PartPublicKey:
		return 200
	}
	names := 22 // the length of an authority's common name
	for _, c := range plan.Certificates {
		if c.Name == of {
			names = len(c.CommonName) + len(c.Organization) + len(strings.Join(c.DNSNames, "  ")) + 6*len(c.Addresses)
			if c.FloatingIP {
				names += 6
			}
		}
	}
	return 650 + 2*names
}
