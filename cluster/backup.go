package cluster

import (
	"crypto/sha256"
	"fmt"
	"path"
	"strings"
	"time"

	"kubernetes-openstack/internal/field"
)

// Period returns the time between two runs of etcd-backup on each machine. A run does nothing if the newest snapshot is
// younger than Interval. If a member fails, another one uploads the snapshot after at most one period.
func (b Backup) Period() time.Duration { return (b.Interval / 6).Truncate(time.Second) }

// CredentialRoles returns the roles of the application credential.
func (b Backup) CredentialRoles() []string {
	if len(b.Roles) > 0 {
		return b.Roles
	}
	return []string{"member"}
}

// AccessRule allows an application credential a kind of request to object storage. Path is below the project's account.
type AccessRule struct{ Method, Path string }

// AccessRules returns the only requests that the application credential of the etcd machines may send: they read the
// container, and read and write its objects. SECURITY.md describes which effects of these requests they do not limit.
func (b Backup) AccessRules() []AccessRule {
	var rules []AccessRule
	for _, method := range []string{"GET", "HEAD"} {
		rules = append(rules, AccessRule{method, b.Container})
	}
	for _, method := range []string{"DELETE", "GET", "HEAD", "PUT"} {
		rules = append(rules, AccessRule{method, b.Container + "/**"})
	}
	return rules
}

// BackupCredentialName returns the name of the application credential of the etcd machines. It ends in a hash of the
// credential's settings, so other settings need another credential. Keystone allows only one credential of a name. To
// replace it, Pulumi would delete it first, and with it all machines that have its secret.
func (c Config) BackupCredentialName() string {
	b := c.Etcd.Backup
	sum := sha256.Sum256(fmt.Append(nil, b.CredentialRoles(), b.AccessRules()))
	return fmt.Sprintf("%s.etcd-backup.%x", c.CredentialName(), sum[:4])
}

// RestoreFile returns the path of the local file that etcd.restore names, or "" if it names an object or nothing.
func (e Etcd) RestoreFile() string {
	if strings.Contains(e.Restore, "/") {
		return e.Restore
	}
	return ""
}

// UploadName returns the name of the object for the local file that etcd.restore names. sum is the SHA-256 of its
// content in hex. A file with other content is another object, so it is restored although the path is the same.
func (e Etcd) UploadName(sum string) string {
	base := path.Base(e.Restore)
	extension := path.Ext(base)
	return strings.TrimSuffix(base, extension) + "-" + sum[:8] + extension
}

// validateBackup checks that a container is set if other settings need it.
func (c Config) validateBackup(e *field.Errors) {
	b, defaults := c.Etcd.Backup, Defaults("").Etcd.Backup
	const path = "etcd.backup.container"
	switch {
	case b.Container != "":
	case c.Etcd.Restore != "":
		e.Add(path, "must be set to the Swift container of the snapshot, because etcd.restore is set")
	case b.Interval != defaults.Interval || b.Keep != defaults.Keep || len(b.Roles) > 0,
		b.ApplicationCredential.ID != "":
		e.Add(path, "must be set to a Swift container, because without it there are no backups")
	}
}
