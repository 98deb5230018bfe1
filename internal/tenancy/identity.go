package tenancy

import "strings"

const prefix = "keystone:"

// Username returns the Kubernetes username of a Keystone user: `keystone:<user ID>`.
//
// It contains the ID because an ID identifies the same user forever. Names are not unique: users of two domains may
// have the same name, a new user may get the name of a deleted one, and any separator between name and domain may
// occur in both. The webhook passes the user's name in `extra`, so audit logs contain it. The prefix separates
// Keystone's users from other users, and from the `system:` names that Kubernetes trusts.
func Username(userID string) string { return prefix + userID }

// Group returns the Kubernetes group of a role in a Keystone token: `keystone:<project ID>:<user ID>:<role>`. A user
// with a token is in one group for each role of the token. All access is granted to these groups.
//
// So a token gives the same access as in OpenStack. A token for one project gives no access to other projects. An
// application credential with fewer roles than its user gives less access. The group contains the user so that a role
// assignment that Keystone removes gives no access after the next plan, even if an older token still contains the
// role. The name of the role comes last, because only it may contain a colon.
func Group(projectID, userID, role string) string {
	return prefix + strings.Join([]string{projectID, userID, role}, ":")
}
