package cluster

import (
	"crypto/sha256"
	"fmt"
	"path"
	"regexp"
	"strings"
	"time"

	"kubernetes-openstack/internal/field"
)

// Limits of etcd.backup.interval.
const (
	minBackupInterval = time.Minute
	maxBackupInterval = 24 * time.Hour
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

var (
	// containerName excludes all characters with a meaning in a regular expression. Keystone's middleware does not quote
	// them in the path of an access rule, so `a.b` would also give access to the container a-b. Keystone stores 128
	// characters of the path.
	containerName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,63}$`)
	// objectName also matches the base name of a local file. With a part of the SHA-256, it has fewer than 255 characters,
	// Nova's limit for a value of metadata. systemd, Swift and the file system keep all these characters unchanged.
	objectName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,239}$`)
)

func (c Config) validateBackup(e *field.Errors) {
	b, defaults := c.Etcd.Backup, Defaults("").Etcd.Backup
	const backup = "etcd.backup"
	switch {
	case b.Container != "":
		if !containerName.MatchString(b.Container) {
			e.Add(backup+".container",
				"must be the name of a Swift container of 1 to 63 letters, digits, '-' and '_', such as prod-etcd, not %q",
				b.Container)
		}
	case c.Etcd.Restore != "":
		e.Add(backup+".container", "must be set to the Swift container of the snapshot, because etcd.restore is set")
	case b.Interval != defaults.Interval || b.Keep != defaults.Keep || len(b.Roles) > 0:
		e.Add(backup+".container", "must be set to a Swift container, because without it there are no backups")
	}
	if b.Interval < minBackupInterval || b.Interval > maxBackupInterval {
		e.Add(backup+".interval", "must be a duration from 1m to 24h, such as 1h, not %s", b.Interval)
	}
	if b.Keep < 1 {
		e.Add(backup+".keep", "must be at least 1, not %d", b.Keep)
	}
	for i, role := range b.Roles {
		required(e, fmt.Sprintf("%s.roles[%d]", backup, i), role, "the name of a role")
	}
	if c.Etcd.Restore != "" && !objectName.MatchString(path.Base(c.Etcd.Restore)) {
		e.Add("etcd.restore", "must be the name of an object in etcd.backup.container, or a local file whose path contains "+
			"'/', with a name of up to 240 letters, digits, '.', '-' and '_', not %q", c.Etcd.Restore)
	}
}
