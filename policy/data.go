package policy

import (
	"kubernetes-openstack/cluster"
	"kubernetes-openstack/internal/field"
)

// data are the rules against the loss of data.
var data = []Rule{
	{
		ID: "etcd-unprotected", Level: Warning,
		When:   "`protect` is false",
		Reason: "A wrong change, or a `pulumi destroy` of the wrong stack, deletes the etcd volumes and all data in them.",
		Remedy: "Set `protect: true`, except before a teardown.",
		Check: func(s Stack, e *field.Errors) {
			if !s.Protect {
				e.Add("protect", "is false")
			}
		},
	},
	{
		ID: "etcd-no-backup", Level: Warning,
		When:   "`etcd.backup.container` is not set",
		Reason: "If most etcd volumes are lost, or if their data is wrong, there is nothing to restore.",
		Remedy: "Set `etcd.backup.container` to a Swift container.",
		Check: func(s Stack, e *field.Errors) {
			if s.Etcd.Backup.Container == "" {
				e.Add("etcd.backup.container", "is not set")
			}
		},
	},
	{
		ID: "destroy-deletes-data", Level: Warning,
		When:   "`storage.onDestroy` is delete",
		Reason: "`pulumi destroy` also deletes the volumes and snapshots of claims, and the backups of etcd.",
		Remedy: "Set `storage.onDestroy: keep`, except before a teardown.",
		Check: func(s Stack, e *field.Errors) {
			if s.Storage.OnDestroy == cluster.Delete {
				e.Add("storage.onDestroy", "is delete")
			}
		},
	},
}
