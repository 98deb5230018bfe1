package cluster

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"maps"
	"net/netip"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/crypto/ssh"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/yaml"
)

// kind is a kind of values in the configuration. The tag `kind` of a field names the kind of its values, with
// arguments: `number 1 10`. In a list or a map, each value has this kind. The tag `keys` names the kind of the keys of
// a map. A value whose tag begins with `optional` can be absent or empty.
type kind struct {
	// want describes the values of the kind. It completes "must be …".
	want func(args []string) string
	// problem returns what is wrong with a value, or "".
	problem func(value any, args []string) string
}

// kinds are all kinds of values by the names in tags. Each rule about the values of one key alone is here.
var kinds = map[string]kind{
	"choice": {want: orList, problem: func(v any, args []string) string {
		return mustBe(orList(args), slices.Contains(args, fmt.Sprint(v)), v)
	}},
	"number": {want: numbers, problem: numberProblem},
	"price": {want: fixed(prices), problem: func(v any, _ []string) string {
		return mustBe(prices, 0 <= v.(float64) && v.(float64) <= maxPrice, v)
	}},
	"duration": {want: durations, problem: durationProblem},
	"milliseconds": {want: milliseconds, problem: func(v any, args []string) string {
		if problem := durationProblem(v, args); problem != "" {
			return problem
		}
		return mustBe(milliseconds(args), v.(time.Duration)%time.Millisecond == 0, v)
	}},
	"as": {want: fixed(asNumbers), problem: func(v any, _ []string) string { return asProblem(v.(int)) }},
	"privateAS": {want: fixed(privateASNumbers), problem: func(v any, _ []string) string {
		if problem := asProblem(v.(int)); problem != "" {
			return problem
		}
		return mustBe(privateASNumbers, isPrivateASNumber(v.(int)), v)
	}},
	"version": {want: versions, problem: func(v any, args []string) string {
		return mustBe(versions(args), slices.Contains(supportedVersions(args[0]), minor(v.(string))), v)
	}},

	"name":      text("a DNS label (lower-case letters, digits and '-') such as prod-1", isDNSLabel),
	"subdomain": text("a DNS subdomain (lower-case letters, digits, '-' and '.') such as ssd", isSubdomain),
	"text": {want: names, problem: func(v any, args []string) string {
		return mustBe(names(args)+" (up to 255 printable characters without blanks at the ends)", isText(v.(string)), v)
	}},
	"rule":   text("a rule of docs/policy.md, such as image-by-name", isDNSLabel),
	"reason": text("a reason of up to 255 printable characters, without blanks at the ends", isText),
	"id":     text("an ID of OpenStack such as 6d1f4d10-5f0c-4a7b-9f5e-0a1b2c3d4e5f", uuid.MatchString),
	"credentialID": text("the ID of an application credential: 32 lower-case hexadecimal digits",
		credentialID.MatchString),
	"label":    text("a valid label value (up to 63 letters, digits, '-', '_' and '.')", isLabelValue),
	"labelKey": text("a valid label key such as example.com/disk", isLabelKey),
	"taintKey": {want: fixed("a valid label key such as example.com/disk"), problem: taintKeyProblem},
	"project":  text("NAME@DOMAIN or the ID of a project", isProject),
	"artifact": text("an artifact: "+orList(ArtifactNames()), isArtifact),
	"sha256":   text("a sha256 of 64 lower-case hexadecimal digits", sha256Hex.MatchString),
	"registry": text("a registry's host name, such as registry.k8s.io", isRegistry),
	"container": text("the name of a Swift container of 1 to 63 letters, digits, '-' and '_', such as prod-etcd",
		containerName.MatchString),
	"device": text("the path of a disk such as /dev/vdb", devicePath.MatchString),
	"snapshot": text("the name of an object in etcd.backup.container, or a local file whose path contains '/', with a "+
		"name of up to 240 letters, digits, '.', '-' and '_'", isSnapshot),

	// an address of another host
	"address": {want: fixed("an IPv4 address such as 10.0.0.10"), problem: anAddress},
	// an address of the cluster
	"ownAddress": {want: fixed("a free address of network.cidr"), problem: anAddress},
	// addresses that only the cluster uses
	"range": {want: fixed("an IPv4 CIDR such as 10.0.0.0/24"), problem: rangeProblem},
	"block": {want: fixed("a block of network.cidr for this group, such as 10.0.0.16/28"), problem: rangeProblem},
	// addresses outside the cluster, or all addresses
	"network": {want: fixed("an IPv4 CIDR such as 10.0.0.0/24"), problem: networkProblem},
	// an address of another host's DNS server
	"nameserver": {want: fixed(nameservers), problem: nameserverProblem},
	// another host that machines reach
	"host": {want: fixed(hosts), problem: func(v any, _ []string) string {
		if strings.ContainsAny(v.(string), ":/@[]") {
			return mustBe(hosts, false, v)
		}
		return hostProblem(v.(string), false)
	}},
	// hosts in the variable NO_PROXY
	"noProxy": text("a host name, a domain such as .example.com, an IPv4 address or an IPv4 CIDR", isNoProxy),
	// a DNS domain whose names are outside of the cluster
	"domain": {want: fixed(domains), problem: domainProblem},
	// URLs that machines request
	"url": {want: urls, problem: func(v any, args []string) string { return urlProblem(v.(string), args, false) }},
	// URLs that the operators' hosts request
	"operatorURL": {want: urls, problem: func(v any, args []string) string { return urlProblem(v.(string), args, true) }},

	"sshKey":       {want: fixed(sshKeys), problem: func(v any, _ []string) string { return sshKeyProblem(v.(string)) }},
	"certificates": {want: fixed(certificates), problem: func(v any, _ []string) string { return caProblem(v.(string)) }},
	"password":     {want: fixed("a password"), problem: passwordProblem},
	"alertmanager": {want: fixed(alertmanagers), problem: alertmanagerProblem},
	"md5Password":  {want: fixed("a password"), problem: md5PasswordProblem},
}

// fixed is the description of a kind without arguments.
func fixed(want string) func([]string) string { return func([]string) string { return want } }

// text is a kind of texts without arguments.
func text(want string, valid func(string) bool) kind {
	return kind{want: fixed(want), problem: func(v any, _ []string) string {
		return mustBe(want, valid(fmt.Sprint(v)), v)
	}}
}

// mustBe returns the problem of a value that is not valid, or "".
func mustBe(want string, valid bool, value any) string {
	if valid {
		return ""
	}
	if text, ok := value.(string); ok {
		value = strconv.Quote(text)
	}
	return fmt.Sprintf("must be %s, not %v", want, value)
}

// names describes a name in OpenStack: the arguments are the words after "the name of".
func names(args []string) string { return "the name of " + strings.Join(args, " ") }

func numbers(args []string) string { return "between " + args[0] + " and " + args[1] }

func numberProblem(v any, args []string) string {
	first, _ := strconv.Atoi(args[0])
	last, _ := strconv.Atoi(args[1])
	return mustBe(numbers(args), first <= v.(int) && v.(int) <= last, v)
}

const (
	maxPrice = 1e9
	prices   = "a price between 0 and 1000000000"
)

func durations(args []string) string { return "a duration from " + args[0] + " to " + args[1] }

func milliseconds(args []string) string { return durations(args) + " in whole milliseconds" }

func durationProblem(v any, args []string) string {
	first, _ := time.ParseDuration(args[0])
	last, _ := time.ParseDuration(args[1])
	return mustBe(durations(args), first <= v.(time.Duration) && v.(time.Duration) <= last, v)
}

// reservedASNumbers lists numbers that no AS may use: RFC 7607, 6793, 5398 and 7300.
var reservedASNumbers = []struct {
	first, last int
	reason      string
}{
	{23456, 23456, "as AS_TRANS"},
	{64496, 64511, "for documentation"},
	{65535, 65535, "by RFC 7300"},
	{65536, 65551, "for documentation"},
	{maxASNumber, maxASNumber, "by RFC 7300"},
}

const (
	maxASNumber      = 1<<32 - 1
	asNumbers        = "between 1 and 4294967294"
	privateASNumbers = "a private AS number (64512–65534 or 4200000000–4294967294)"
)

// asProblem checks the number of an AS, of 2 or 4 bytes.
func asProblem(n int) string {
	for _, r := range reservedASNumbers {
		if r.first <= n && n <= r.last {
			return fmt.Sprintf("%d is reserved %s: use another AS number", n, r.reason)
		}
	}
	return mustBe(asNumbers, 1 <= n && n <= maxASNumber, n)
}

// isPrivateASNumber reports whether n is for private use (RFC 6996).
func isPrivateASNumber(n int) bool {
	return 64512 <= n && n <= 65534 || 4200000000 <= n && n <= 4294967294
}

// supportedVersions returns the supported minor versions of a program.
func supportedVersions(program string) []string {
	switch program {
	case "kubernetes":
		return slices.Sorted(maps.Keys(etcdVersions))
	case "etcd":
		return slices.Sorted(maps.Keys(oldestEtcdPatch))
	}
	return calicoVersions
}

func versions(args []string) string {
	defaults := Defaults("")
	example := map[string]string{"kubernetes": defaults.Kubernetes.Version, "etcd": defaults.Etcd.Version,
		"calico": defaults.Calico.Version}[args[0]]
	return fmt.Sprintf("a version of %s, such as %s", orList(supportedVersions(args[0])), example)
}

func isDNSLabel(name string) bool { return len(validation.IsDNS1123Label(name)) == 0 }

// isHost accepts names of hosts and of DNS domains. Unlike the names of objects, each part has up to 63 characters.
func isHost(name string) bool {
	return !slices.ContainsFunc(strings.Split(name, "."), func(label string) bool { return !isDNSLabel(label) }) &&
		isSubdomain(name)
}

func isSubdomain(name string) bool { return len(validation.IsDNS1123Subdomain(name)) == 0 }

func isLabelKey(key string) bool { return len(validation.IsQualifiedName(key)) == 0 }

func isLabelValue(value string) bool { return len(validation.IsValidLabelValue(value)) == 0 }

// isText accepts names in OpenStack, which stores up to 255 characters.
func isText(name string) bool {
	return name != "" && utf8.RuneCountInString(name) <= 255 && name == strings.TrimSpace(name) &&
		!strings.ContainsFunc(name, unprintable)
}

func unprintable(r rune) bool { return !unicode.IsPrint(r) }

func isArtifact(name string) bool { return slices.Contains(ArtifactNames(), name) }

func isProject(name string) bool {
	return isText(name) && !strings.HasPrefix(name, "@") && !strings.HasSuffix(name, "@")
}

// uuid matches the IDs of Glance and Neutron.
var uuid = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)

// credentialID matches the IDs of Keystone.
var credentialID = regexp.MustCompile(`^[0-9a-f]{32}$`)

var sha256Hex = regexp.MustCompile(`^[0-9a-f]{64}$`)

// isRegistry accepts a host in lower-case letters and a port, because containerd reads the folder with this name.
func isRegistry(name string) bool {
	host, port, found := strings.Cut(name, ":")
	return isHost(host) && (!found || isPort(port))
}

func isPort(text string) bool {
	n, err := strconv.ParseUint(text, 10, 16)
	return err == nil && n > 0 && text[0] != '0'
}

var (
	// containerName excludes all characters with a meaning in a regular expression. Keystone's middleware does not quote
	// them in the path of an access rule, so `a.b` would also give access to the container a-b. Keystone stores 128
	// characters of the path.
	containerName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,63}$`)
	// objectName also matches the base name of a local file. With a part of the SHA-256, it has fewer than 255 characters,
	// Nova's limit for a value of metadata. systemd, Swift and the file system keep all these characters unchanged.
	objectName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,239}$`)
)

// devicePath matches a whole disk, without characters that systemd or a shell interprets.
var devicePath = regexp.MustCompile(`^/dev/[a-z][a-z0-9]*(/[A-Za-z0-9][A-Za-z0-9._:-]*)*$`)

func isSnapshot(name string) bool { return objectName.MatchString(path.Base(name)) }

// kubernetesTaints are the domains of taints that Kubernetes adds and removes by itself.
var kubernetesTaints = []string{"node.kubernetes.io/", "node.cloudprovider.kubernetes.io/"}

func taintKeyProblem(v any, _ []string) string {
	key := v.(string)
	for _, domain := range kubernetesTaints {
		if strings.HasPrefix(key, domain) {
			return fmt.Sprintf("must not begin with %s, because only Kubernetes sets such taints: use another key, not %q",
				domain, key)
		}
	}
	return mustBe("a valid label key such as example.com/disk", isLabelKey(key), v)
}

// specialRanges are ranges that routers do not forward. The metadata service has a link-local address.
var specialRanges = []struct {
	prefix netip.Prefix
	kind   string
}{
	{netip.MustParsePrefix("0.0.0.0/8"), "unspecified"},
	{loopback, "loopback"},
	{netip.MustParsePrefix("169.254.0.0/16"), "link-local"},
	{netip.MustParsePrefix("224.0.0.0/3"), "multicast and reserved"},
}

var loopback = netip.MustParsePrefix("127.0.0.0/8")

func anAddress(v any, _ []string) string { return addressProblem(v.(netip.Addr)) }

func addressProblem(a netip.Addr) string {
	for _, special := range specialRanges {
		if special.prefix.Contains(a) {
			return fmt.Sprintf("%s is in %s, the range of %s addresses: use the address of a host", a, special.prefix,
				special.kind)
		}
	}
	return ""
}

func rangeProblem(v any, args []string) string {
	p := v.(netip.Prefix)
	for _, special := range specialRanges {
		if p.Overlaps(special.prefix) {
			return fmt.Sprintf("%s overlaps %s, the range of %s addresses: use another range", p, special.prefix, special.kind)
		}
	}
	if len(args) == 0 {
		return ""
	}
	first, _ := strconv.Atoi(args[0])
	last, _ := strconv.Atoi(args[1])
	if p.Bits() < first || p.Bits() > last {
		return fmt.Sprintf("must be between /%d and /%d, not /%d", first, last, p.Bits())
	}
	return ""
}

// networkProblem accepts a network around special ranges, such as 0.0.0.0/0.
func networkProblem(v any, _ []string) string {
	p := v.(netip.Prefix)
	for _, special := range specialRanges {
		if special.prefix.Bits() <= p.Bits() && special.prefix.Contains(p.Addr()) {
			return fmt.Sprintf("%s is in %s, the range of %s addresses: remove it, no packet comes from there", p,
				special.prefix, special.kind)
		}
	}
	return ""
}

func urls(schemes []string) string {
	return fmt.Sprintf("a URL of %s such as %s://host.example.com:8080/path", orList(schemes), schemes[0])
}

var (
	// urlParts are the scheme, the host, the port with its colon and the path of a URL.
	urlParts = regexp.MustCompile(`^([a-z0-9]+)://(\[[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*\]|[^/:\[\]]+)(:[^/]*)?(/.*)?$`)
	// urlPath excludes characters with a meaning for curl, YAML, TOML, systemd or a shell.
	urlPath = regexp.MustCompile(`^(/([A-Za-z0-9/._~+=:,-]|%[0-9A-Fa-f]{2})*)?$`)
)

// urlProblem checks a URL. Only operators may use loopback addresses and IPv6, because their proxy can be on their own
// host. Machines have no IPv6 addresses. A message never shows a URL with a password.
func urlProblem(text string, schemes []string, operators bool) string {
	parts := urlParts.FindStringSubmatch(text)
	switch {
	case strings.Contains(text, "@"):
		return "must have no user name and no password, because other users can read the URL. The credentials of " +
			"artifacts.mirror are artifacts.username and artifacts.password"
	case strings.ContainsAny(text, "?#"):
		return fmt.Sprintf("must have no query and no fragment, not %q", text)
	case parts == nil || !slices.Contains(schemes, parts[1]):
		return mustBe(urls(schemes), false, text)
	case parts[3] != "" && !isPort(parts[3][1:]):
		return fmt.Sprintf("must have a port between 1 and 65535, not %q", text)
	case !urlPath.MatchString(parts[4]):
		return fmt.Sprintf("must have a path of letters, digits and the characters / . _ ~ %% + = : , - only, not %q", text)
	}
	return hostProblem(strings.Trim(parts[2], "[]"), operators)
}

// hostProblem checks the host of a URL.
func hostProblem(host string, operators bool) string {
	a, err := netip.ParseAddr(host)
	name := strings.ToLower(strings.TrimSuffix(host, "."))
	last := name[strings.LastIndexByte(name, '.')+1:]
	switch {
	case err == nil && operators && (a.IsLoopback() || a.Is6() && !a.Unmap().IsUnspecified()):
		return ""
	case err == nil && a.Is4():
		return addressProblem(a)
	case err == nil && operators:
		return fmt.Sprintf("must have the address of a host, not %q", host)
	case err == nil:
		return fmt.Sprintf("must have a host name or an IPv4 address, because machines have no IPv6 address, not %q", host)
	case !isHost(name) || numericLabel.MatchString(last):
		return fmt.Sprintf("must have a host name such as host.example.com or an IPv4 address, not %q", host)
	case !operators && localName.MatchString(last):
		return fmt.Sprintf("must have a host that machines reach, not %q", host)
	case inCluster(name), last == "svc":
		return fmt.Sprintf("must have a host outside of the cluster, not %q", host)
	}
	return ""
}

// localName matches the last label of a host's own names in the /etc/hosts of Debian and CentOS.
var localName = regexp.MustCompile(`^(ip6-)?(localhost|localdomain|loopback)[46]?$`)

// hostAddress returns the address in a URL. A host name has none.
func hostAddress(text string) (netip.Addr, bool) {
	parts := urlParts.FindStringSubmatch(text)
	if parts == nil {
		return netip.Addr{}, false
	}
	a, err := netip.ParseAddr(strings.Trim(parts[2], "[]"))
	return a.Unmap(), err == nil
}

// numericLabel matches the last label of an address in a notation such as 127.1 or 0x7f000001. No host has such a name.
var numericLabel = regexp.MustCompile(`^([0-9]+|0x[0-9a-f]*)$`)

func isNoProxy(text string) bool {
	if p, err := netip.ParsePrefix(text); err == nil {
		return p.Addr().Is4() && p == p.Masked()
	}
	if a, err := netip.ParseAddr(text); err == nil {
		return a.Is4()
	}
	name := strings.TrimPrefix(text, ".")
	return isSubdomain(name) && !numericLabel.MatchString(name[strings.LastIndexByte(name, '.')+1:])
}

const hosts = "a host name or an IPv4 address such as ntp.example.com"

const nameservers = "an IPv4 address with an optional port such as 192.0.2.53:5353"

func nameserverProblem(v any, _ []string) string {
	a, ok := nameserverAddress(v.(string))
	if !ok {
		return mustBe(nameservers, false, v)
	}
	return addressProblem(a)
}

// nameserverAddress returns the address of a DNS server.
func nameserverAddress(text string) (netip.Addr, bool) {
	host, port, found := strings.Cut(text, ":")
	a, err := netip.ParseAddr(host)
	return a, err == nil && a.Is4() && (!found || isPort(port))
}

const domains = "a DNS domain in lower case such as corp.example.com"

func domainProblem(v any, _ []string) string {
	name := v.(string)
	if !isHost(name) {
		return mustBe(domains, false, name)
	}
	if inCluster(name) {
		return fmt.Sprintf("must be a domain outside of %s, not %s", clusterDomain, name)
	}
	if strings.HasSuffix(clusterDomain, "."+name) { // CoreDNS would forward the names of Services
		return fmt.Sprintf("must be a domain that does not contain %s, not %s", clusterDomain, name)
	}
	return ""
}

// inCluster returns true for the names of Services and pods.
func inCluster(name string) bool {
	return name == clusterDomain || strings.HasSuffix(name, "."+clusterDomain)
}

// clusterDomain is the DNS domain of Services.
const clusterDomain = "cluster.local"

const sshKeys = "one public key in the format of authorized_keys, such as ssh-ed25519 AAAA…"

// sshKeyProblem does not show the text, because it can be a private key. OpenSSH of CentOS Stream 9 refuses DSA keys
// and short RSA keys.
func sshKeyProblem(text string) string {
	text = strings.TrimSpace(text)
	key, _, options, _, err := ssh.ParseAuthorizedKey([]byte(text))
	switch {
	case err != nil:
		return "must be " + sshKeys
	case strings.ContainsAny(text, "\r\n"):
		return "must be one public key, not several lines"
	case len(options) > 0:
		return "must be a public key without options: begin with its type, such as ssh-ed25519"
	}
	switch key.Type() {
	case ssh.KeyAlgoED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521, ssh.KeyAlgoSKED25519,
		ssh.KeyAlgoSKECDSA256:
		return ""
	case ssh.KeyAlgoRSA:
		public, ok := key.(ssh.CryptoPublicKey).CryptoPublicKey().(*rsa.PublicKey)
		if ok && public.N.BitLen() < 2048 {
			return fmt.Sprintf("must be an RSA key of at least 2048 bits, not %d", public.N.BitLen())
		}
		return ""
	}
	return fmt.Sprintf("must be a key of the type ed25519, ecdsa or rsa, not %s", key.Type())
}

const certificates = "one or more CA certificates in PEM format: -----BEGIN CERTIFICATE-----"

// caProblem reads a bundle like the programs that use it, which skip all text between certificates. They also skip a
// certificate that they cannot read, so each beginning and each end must belong to a certificate.
func caProblem(text string) string {
	found, rest := 0, []byte(text)
	for block, after := pem.Decode(rest); block != nil; block, after = pem.Decode(rest) {
		found, rest = found+1, after
		if block.Type != "CERTIFICATE" || len(block.Headers) > 0 {
			return fmt.Sprintf("must contain only blocks of the type CERTIFICATE without headers, but block %d has the type %s "+
				"and %d headers", found, block.Type, len(block.Headers))
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		switch {
		case err != nil:
			return fmt.Sprintf("certificate %d is damaged: %v", found, err)
		case !certificate.IsCA && !isOldRoot(certificate):
			return fmt.Sprintf("certificate %d (%s) must be the certificate of a CA", found, certificate.Subject)
		case time.Now().After(certificate.NotAfter):
			return fmt.Sprintf("certificate %d (%s) expired at %s: remove or replace it", found, certificate.Subject,
				certificate.NotAfter.Format(time.RFC3339))
		case time.Now().Before(certificate.NotBefore):
			return fmt.Sprintf("certificate %d (%s) is only valid from %s", found, certificate.Subject,
				certificate.NotBefore.Format(time.RFC3339))
		}
	}
	if begins, ends := strings.Count(text, "-----BEGIN"), strings.Count(text, "-----END"); found == 0 || begins != found ||
		ends != found {
		return fmt.Sprintf("must be %s and -----END CERTIFICATE----- on lines of their own. %d of %d blocks are complete",
			certificates, found, max(begins, ends))
	}
	return ""
}

// isOldRoot accepts the roots of old CAs. A certificate of X.509 v1 has no extensions, so it does not name itself a CA.
func isOldRoot(certificate *x509.Certificate) bool {
	return certificate.Version == 1 && bytes.Equal(certificate.RawSubject, certificate.RawIssuer)
}

// passwordProblem does not show the password. A line feed at the end comes from a file.
func passwordProblem(v any, _ []string) string {
	if strings.ContainsFunc(string(v.(Secret)), unicode.IsControl) {
		return "must have no line feed and no other control character"
	}
	return ""
}

const alertmanagers = "a configuration of Alertmanager in YAML with receivers, and with a route to one of them"

// alertmanagerProblem does not show the text, because it has passwords. Alertmanager checks all other keys.
func alertmanagerProblem(v any, _ []string) string {
	var keys map[string]any
	err := yaml.UnmarshalStrict([]byte(v.(Secret)), &keys)
	receivers, _ := keys["receivers"].([]any)
	names := map[string]bool{}
	for _, receiver := range receivers {
		object, _ := receiver.(map[string]any)
		names[scalar(object["name"])] = true
	}
	delete(names, "")
	route, _ := keys["route"].(map[string]any)
	if err != nil || route["receiver"] == nil || !isRoute(route, names) {
		return "must be " + alertmanagers
	}
	return ""
}

// isRoute reports whether the receivers of a route and of all routes in it exist. A route in another one can have the
// receiver of that one.
func isRoute(v any, receivers map[string]bool) bool {
	route, isObject := v.(map[string]any)
	routes, isList := route["routes"].([]any)
	known := route["receiver"] == nil || receivers[scalar(route["receiver"])]
	if !isObject || !known || !isList && route["routes"] != nil {
		return false
	}
	return !slices.ContainsFunc(routes, func(inner any) bool { return !isRoute(inner, receivers) })
}

// scalar returns a value of YAML as text, or "" for a list or an object.
func scalar(v any) string {
	switch v.(type) {
	case string, float64, bool:
		return fmt.Sprint(v)
	}
	return ""
}

// maxPasswordLength is the kernel's maximum length of a TCP MD5 key.
const maxPasswordLength = 80

// md5PasswordProblem does not show the password.
func md5PasswordProblem(v any, _ []string) string {
	password := string(v.(Secret))
	if len(password) > maxPasswordLength {
		return fmt.Sprintf("must be at most %d characters, the maximum length of a TCP MD5 key", maxPasswordLength)
	}
	if strings.ContainsFunc(password, func(r rune) bool { return r < ' ' || r > '~' || r == '"' }) {
		return `must be printable ASCII without '"', because BIRD's configuration allows nothing else`
	}
	return ""
}

// orList joins alternatives: "a, b or c".
func orList(items []string) string {
	last := len(items) - 1
	if last < 1 {
		return strings.Join(items, "")
	}
	return strings.Join(items[:last], ", ") + " or " + items[last]
}
