package tenancy

import "strings"

const prefix = "keystone:"

// Username is a user of Keystone's name in Kubernetes: `keystone:<user ID>`.
//
// The ID is one user's for ever. A name is not: another domain has users of the same names, whoever gets the name of
// one who is gone would get what they had, and no separator of name and domain is one that neither may have in it.
// Names are for people: the webhook tells them besides (`extra`), which audit logs have. The prefix keeps Keystone's
// users apart from all others, and from `system:`, whose names Kubernetes itself trusts.
func Username(userID string) string { return prefix + userID }

// Group is a role in a token of Keystone's, in Kubernetes: `keystone:<project ID>:<user ID>:<role>`. Whoever shows a
// token is in one for each role that it has, and all access is by these.
//
// So a token opens here what it opens in OpenStack. One for a project has nothing in another, and an application
// credential with fewer roles than its user has fewer rights. The user is part of it so that a role which Keystone
// takes from them is worth nothing from the next plan on, though tokens of before may still say it. The role, by its
// name, is last, as it alone may have a colon in it.
func Group(projectID, userID, role string) string {
	return prefix + strings.Join([]string{projectID, userID, role}, ":")
}
