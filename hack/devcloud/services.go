package main

import "slices"

// Service is a program that runs in the box, or a job that ends before others start.
type Service struct {
	Name    string
	Command string   // shell code; the last line of a service is an exec
	User    string   // "": root, because the box isolates all services
	Ready   string   // the address that responds when it is ready: tcp, unix or http; "": ready when it runs
	After   []string // services that must be ready, and jobs that must have succeeded, before it starts
	Job     bool     // ends by itself
	Only    string   // a condition below; "": runs in every box
}

// Conditions at the start of a box.
const (
	onFirst   = "first"   // there is no kept data
	onMigrate = "migrate" // there is no kept data and no snapshot of the databases, so all schemas are created
	onRestore = "restore" // there is no kept data, but a snapshot of the databases
)

const (
	novaConfig    = " --config-file /etc/devcloud/common.conf --config-file /etc/nova/nova.conf"
	novaDatabase  = novaConfig + " --config-file /etc/nova/database.conf"
	neutronConfig = " --config-file /etc/devcloud/common.conf --config-file /etc/neutron/neutron.conf"
	cinderConfig  = " --config-file /etc/devcloud/common.conf --config-file /etc/cinder/cinder.conf"
	glanceConfig  = " --config-file /etc/devcloud/common.conf --config-file /etc/glance/glance-api.conf"
	mariadb       = "mariadb --defaults-file=/etc/mysql/devcloud.cnf"
)

// services returns all services of a box. compute is the name of a compute driver in computes.
func services(compute string) []Service {
	needs := func(schema string) []string { return []string{"mariadb", "rabbitmq", schema, "restore", "catalogue"} }
	return append([]Service{
		// the data centre's router and resolver
		{Name: "bird", Ready: "unix:///run/bird/bird.ctl", Command: `
			mkdir -p /run/bird
			exec ip netns exec ` + router + ` bird -f -c /etc/bird/bird.conf`},
		{Name: "dnsmasq", Ready: "tcp://" + routerAddress + ":53", Command: `
			exec ip netns exec ` + router + ` dnsmasq --keep-in-foreground --conf-file=/etc/dnsmasq/dnsmasq.conf`},

		// requirements of OpenStack
		{Name: "mariadb-install", Only: onFirst, Job: true, Command: `
			chown mysql: /var/lib/mysql
			mariadb-install-db --defaults-file=/etc/mysql/devcloud.cnf --skip-test-db --auth-root-authentication-method=socket`},
		{Name: "mariadb", After: []string{"mariadb-install"}, Ready: "unix:///run/mysqld/mysqld.sock", Command: `
			install -d -o mysql /run/mysqld
			exec mariadbd --defaults-file=/etc/mysql/devcloud.cnf`},
		{Name: "databases", Only: onFirst, Job: true, After: []string{"mariadb"},
			Command: mariadb + ` < /etc/devcloud/databases.sql`},
		{Name: "rabbitmq", User: "rabbitmq", Ready: "tcp://127.0.0.1:5672",
			Command: `exec /usr/lib/rabbitmq/bin/rabbitmq-server`},

		// The volumes' filesystem supports instant copies of files, which the host's may not. It uses only as much of the
		// host's disk as is written to it. Its loop device ends with its last mount.
		{Name: "volumes", Job: true, Command: `
			cd /var/lib/cinder
			if ! [ -e volumes.xfs ]; then
				truncate --size 1T new.xfs
				mkfs.xfs -q -f -l size=64m new.xfs
				mv new.xfs volumes.xfs
			fi
			mkdir -p volumes
			mount -o loop,discard volumes.xfs volumes`},

		// These jobs fill the empty databases. Either they create all schemas, two jobs in parallel because they use two
		// processors, or they restore the snapshot of an earlier first start.
		{Name: "keystone-db", Only: onMigrate, Job: true, After: []string{"databases"}, Command: `
			install -d -m 700 /var/lib/keystone/fernet-keys /var/lib/keystone/credential-keys
			keystone-manage db_sync
			keystone-manage fernet_setup --keystone-user root --keystone-group root
			keystone-manage credential_setup --keystone-user root --keystone-group root
			keystone-manage bootstrap --bootstrap-password devcloud --bootstrap-region-id RegionOne \
				--bootstrap-admin-url http://127.0.0.1:5000/v3 --bootstrap-internal-url http://` + externalGateway + `:5000/v3 \
				--bootstrap-public-url http://127.0.0.1:5000/v3`},
		{Name: "neutron-db", Only: onMigrate, Job: true, After: []string{"keystone-db"},
			Command: `neutron-db-manage` + neutronConfig + ` --config-file /etc/neutron/ml2.ini upgrade head`},
		{Name: "nova-db", Only: onMigrate, Job: true, After: []string{"databases"}, Command: `
			nova-manage` + novaDatabase + ` api_db sync
			nova-manage` + novaDatabase + ` cell_v2 map_cell0
			nova-manage` + novaDatabase + ` cell_v2 create_cell --name=cell1
			nova-manage` + novaDatabase + ` db sync`},
		{Name: "glance-db", Only: onMigrate, Job: true, After: []string{"nova-db"},
			Command: `glance-manage` + glanceConfig + ` db_sync`},
		{Name: "cinder-db", Only: onMigrate, Job: true, After: []string{"glance-db"},
			Command: `cinder-manage` + cinderConfig + ` db sync`},
		{Name: "placement-db", Only: onMigrate, Job: true, After: []string{"cinder-db"},
			Command: `placement-manage db sync`},
		{Name: "restore", Only: onRestore, Job: true, After: []string{"databases"}, Command: `
			cp -a /run/devcloud/snapshot/keystone/. /var/lib/keystone/
			` + mariadb + ` < /run/devcloud/snapshot/databases.sql`},

		// The services find each other in Keystone's catalogue. up writes it when Keystone responds.
		{Name: "keystone", After: []string{"mariadb", "keystone-db", "restore"}, Ready: "http://127.0.0.1:5000/v3",
			Command: `exec uwsgi --ini /etc/devcloud/uwsgi.ini --http-socket 127.0.0.1:5000 --wsgi-file ` +
				`/usr/bin/keystone-wsgi-public`},
		{Name: "catalogue", Only: onMigrate, Job: true, After: []string{"keystone"},
			Command: `until [ -e /run/devcloud/catalogue ]; do sleep 0.1; done`},
		{Name: "snapshot", Only: onMigrate, Job: true,
			After: []string{"catalogue", "glance-db", "placement-db", "cinder-db", "nova-db", "neutron-db"}, Command: `
			mkdir -p /run/devcloud/snapshot
			cp -a /var/lib/keystone /run/devcloud/snapshot/
			mariadb-dump --defaults-file=/etc/mysql/devcloud.cnf --single-transaction \
				--databases keystone glance placement nova_api nova nova_cell0 neutron cinder \
				> /run/devcloud/snapshot/databases.sql`},

		{Name: "placement", After: needs("placement-db"), Ready: "http://127.0.0.1:8778/",
			Command: `exec uwsgi --ini /etc/devcloud/uwsgi.ini --http-socket 127.0.0.1:8778 --wsgi-file /usr/bin/placement-api`},
		{Name: "glance-api", After: needs("glance-db"), Ready: "http://127.0.0.1:9292/",
			Command: `exec glance-api` + glanceConfig},
		// These two end if Placement does not respond when they start.
		{Name: "nova-conductor", After: append(needs("nova-db"), "placement"),
			Command: `exec nova-conductor` + novaDatabase},
		{Name: "nova-scheduler", After: append(needs("nova-db"), "placement"),
			Command: `exec nova-scheduler` + novaDatabase},
		{Name: "nova-api", After: needs("nova-db"), Ready: "http://127.0.0.1:8774/",
			Command: `exec nova-api` + novaDatabase},
		{Name: "neutron-server", After: needs("neutron-db"), Ready: "http://127.0.0.1:9696/",
			Command: `exec neutron-server` + neutronConfig + ` --config-file /etc/neutron/ml2.ini`},
		{Name: "cinder-api", After: needs("cinder-db"), Ready: "http://127.0.0.1:8776/",
			Command: `exec cinder-api` + cinderConfig},
		{Name: "cinder-scheduler", After: needs("cinder-db"),
			Command: `exec cinder-scheduler` + cinderConfig},
		{Name: "cinder-volume", After: append(needs("cinder-db"), "volumes"), Command: `
			export PYTHONPATH=/opt/devcloud/cinder # its driver
			exec cinder-volume` + cinderConfig},

		// Swift keeps its data in the volumes' filesystem.
		{Name: "swift", After: []string{"volumes", "keystone", "catalogue"}, Ready: "http://127.0.0.1:8080/healthcheck",
			Command: `
			mkdir -p /var/lib/cinder/volumes/swift
			exec /opt/devcloud/swift/swift-servers`},

		// An agent that starts before its server would wait longer than necessary.
		{Name: "neutron-linuxbridge-agent", After: []string{"neutron-server"},
			Command: `exec neutron-linuxbridge-agent` + neutronConfig + ` --config-file /etc/neutron/linuxbridge-agent.ini`},
		{Name: "neutron-dhcp-agent", After: []string{"neutron-server"},
			Command: `exec neutron-dhcp-agent` + neutronConfig + ` --config-file /etc/neutron/dhcp-agent.ini`},
		{Name: "neutron-l3-agent", After: []string{"neutron-server"},
			Command: `exec neutron-l3-agent` + neutronConfig},
		{Name: "neutron-metadata-agent", After: []string{"neutron-server"},
			Command: `exec neutron-metadata-agent` + neutronConfig + ` --config-file /etc/neutron/metadata-agent.ini`},
	}, computes[compute].Services...)
}

// Compute is a compute driver.
type Compute struct {
	Packages []string // packages of the root filesystem, in addition to rootfs/packages
	Services []Service
	OwnImage bool // the driver cannot boot the image of the function Image
}

var computes = map[string]Compute{
	"nspawn": {Services: []Service{novaCompute("nspawn", "/opt/devcloud/nova/nova-compute-nspawn")}},
	"fake":   {Services: []Service{novaCompute("fake", "/opt/devcloud/nova/nova-compute-nspawn")}},
	"libvirt": {OwnImage: true,
		Packages: []string{"nova-compute", "nova-compute-kvm", "libvirt-daemon-system", "genisoimage"},
		Services: []Service{
			{Name: "virtlogd", Command: `exec virtlogd`},
			{Name: "libvirtd", After: []string{"virtlogd"}, Ready: "unix:///run/libvirt/libvirt-sock", Command: `exec libvirtd`},
			novaCompute("libvirt", "nova-compute", "libvirtd"),
		}},
}

func novaCompute(driver, program string, after ...string) Service {
	return Service{Name: "nova-compute",
		After: append(after, "nova-api", "nova-conductor", "keystone", "placement", "neutron-linuxbridge-agent", "cinder-api",
			"volumes"),
		Command: `
			mkdir -p /var/lib/nova/instances
			exec ` + program + novaConfig + ` --config-file /etc/nova/compute.conf` +
			` --config-file /etc/nova/compute-` + driver + `.conf`}
}

// selectServices returns the services of a box with these conditions.
func selectServices(all []Service, conditions []string) (selected []Service) {
	for _, service := range all {
		if service.Only == "" || slices.Contains(conditions, service.Only) {
			selected = append(selected, service)
		}
	}
	return selected
}
