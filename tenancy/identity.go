package tenancy

const usernamePrefix = "keystone:"

// Username is a user of Keystone's name in Kubernetes: `keystone:` and the user's ID.
//
// The ID is one user's for ever. A name is not: another domain has users of the same names, whoever gets the name of one
// who is gone would get what they had, and no separator of name and domain is one that neither may have in it. The
// prefix keeps Keystone's users apart from all others, and from `system:`, whose names Kubernetes itself trusts. Names
// are for people: they are in what the webhook tells besides (`extra`), which audit logs have.
//
// A user may do the same whichever of their projects their token is for. So an application credential that has fewer
// roles than its user, or a token that is for another project, is the webhook's to refuse.
func Username(userID string) string { return usernamePrefix + userID }
