package main

import (
	_ "embed"
	"regexp"
	"strings"
)

// Every token that the Go SDK uses, one a line, sorted. The SDK keeps or drops Terraform's version suffix and writes
// capitals by no rule, so the names are looked up here rather than derived. The test compares the file with the SDK.
//
//go:embed tokens.txt
var tokenList string

// modules are the parts of Terraform's names that the SDK calls otherwise.
var modules = map[string]string{"db": "database", "fw": "firewall", "lb": "loadbalancer"}

// The names that no rule yields: resources and functions by their Terraform name, in the SDK's "module/name".
var (
	oddResources = map[string]string{
		"openstack_blockstorage_quotaset_v2": "blockstorage/quotesetv2",
		"openstack_blockstorage_quotaset_v3": "blockstorage/quotesetv3",
		"openstack_objectstorage_object_v1":  "objectstorage/containerobject",
	}
	oddFunctions = map[string]string{
		"openstack_dns_zone_v2":                            "dns/getdnszone",
		"openstack_fw_policy_v2":                           "index/getfwpolicyv2",
		"openstack_sharedfilesystem_availability_zones_v2": "sharedfilesystem/getavailbilityzones",
	}
)

var versionSuffix = regexp.MustCompile(`v\d$`)

// tokenIndex has the SDK's tokens (openstack:compute/instance:Instance) by their lower-case "module/name".
type tokenIndex map[string]string

func sdkTokens() tokenIndex {
	index := tokenIndex{}
	for _, token := range strings.Fields(tokenList) {
		index[strings.ToLower(strings.Split(token, ":")[1])] = token
	}
	return index
}

// resource is the token of a Terraform resource, "" where the SDK has none.
func (t tokenIndex) resource(name string) string {
	if odd, ok := oddResources[name]; ok {
		return t[odd]
	}
	return t.find(name, "")
}

// function is the token of a Terraform data source, "" where the SDK has none.
func (t tokenIndex) function(name string) string {
	if odd, ok := oddFunctions[name]; ok {
		return t[odd]
	}
	return t.find(name, "get")
}

// find looks openstack_<module>_<rest>_v<n> up with its version, without it, and in the SDK's root module.
func (t tokenIndex) find(name, verb string) string {
	name = strings.TrimPrefix(name, "openstack_")
	module, rest, _ := strings.Cut(name, "_")
	if renamed, ok := modules[module]; ok {
		module = renamed
	}
	squeeze := strings.NewReplacer("_", "").Replace
	full := module + "/" + verb + squeeze(rest)
	for _, key := range []string{full, versionSuffix.ReplaceAllString(full, ""), "index/" + verb + squeeze(name)} {
		if token := t[key]; token != "" {
			return token
		}
	}
	return ""
}
