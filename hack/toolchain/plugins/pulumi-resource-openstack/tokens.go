package main

import (
	_ "embed"
	"regexp"
	"strings"
)

// tokenList contains every token of the Go SDK, one per line, sorted. The tokens cannot be derived from Terraform's
// names, because the SDK has no rule for version suffixes and capital letters. A test compares the list with the SDK.
//
//go:embed tokens.txt
var tokenList string

// modules are the modules with another name in the SDK, by their name in Terraform.
var modules = map[string]string{"db": "database", "fw": "firewall", "lb": "loadbalancer"}

// The exceptions to the rules of find: the SDK's "module/name" of resources and functions, by their Terraform name.
var (
	irregularResources = map[string]string{
		"openstack_blockstorage_quotaset_v2": "blockstorage/quotesetv2",
		"openstack_blockstorage_quotaset_v3": "blockstorage/quotesetv3",
		"openstack_objectstorage_object_v1":  "objectstorage/containerobject",
	}
	irregularFunctions = map[string]string{
		"openstack_dns_zone_v2":                            "dns/getdnszone",
		"openstack_fw_policy_v2":                           "index/getfwpolicyv2",
		"openstack_sharedfilesystem_availability_zones_v2": "sharedfilesystem/getavailbilityzones",
	}
)

var versionSuffix = regexp.MustCompile(`v\d$`)

// tokenIndex contains the SDK's tokens, such as openstack:compute/instance:Instance, by their lower-case "module/name".
type tokenIndex map[string]string

// sdkTokens returns the index of tokenList.
func sdkTokens() tokenIndex {
	index := tokenIndex{}
	for _, token := range strings.Fields(tokenList) {
		index[strings.ToLower(strings.Split(token, ":")[1])] = token
	}
	return index
}

// resource returns the token of a Terraform resource, or "" if the SDK has none.
func (t tokenIndex) resource(name string) string {
	if irregular, ok := irregularResources[name]; ok {
		return t[irregular]
	}
	return t.find(name, "")
}

// function returns the token of a Terraform data source, or "" if the SDK has none.
func (t tokenIndex) function(name string) string {
	if irregular, ok := irregularFunctions[name]; ok {
		return t[irregular]
	}
	return t.find(name, "get")
}

// find searches for openstack_<module>_<rest>_v<n> with the version, without it, and in the SDK's root module.
func (t tokenIndex) find(name, verb string) string {
	name = strings.TrimPrefix(name, "openstack_")
	module, rest, _ := strings.Cut(name, "_")
	if renamed, ok := modules[module]; ok {
		module = renamed
	}
	join := strings.NewReplacer("_", "").Replace
	full := module + "/" + verb + join(rest)
	for _, key := range []string{full, versionSuffix.ReplaceAllString(full, ""), "index/" + verb + join(name)} {
		if token := t[key]; token != "" {
			return token
		}
	}
	return ""
}
