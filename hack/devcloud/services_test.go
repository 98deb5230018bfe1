package main

import (
	"io/fs"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// starts maps the kinds of starts to their conditions.
var starts = map[string][]string{
	"kept data": nil,
	"migrate":   {onFirst, onMigrate},
	"restore":   {onFirst, onRestore},
}

func TestServicesCanStart(t *testing.T) {
	for compute := range computes {
		table := services(compute)
		known := map[string]bool{}
		for _, service := range table {
			if known[service.Name] {
				t.Errorf("%s: %s is listed twice", compute, service.Name)
			}
			known[service.Name] = true
		}
		for _, service := range table {
			for _, name := range service.After {
				if !known[name] {
					t.Errorf("%s: %s needs %s, which does not exist", compute, service.Name, name)
				}
			}
		}
		for start, conditions := range starts {
			selected := selectServices(table, conditions)
			inBox := map[string]bool{}
			for _, service := range selected {
				inBox[service.Name] = true
			}
			ready := map[string]bool{}
			for changed := true; changed; {
				changed = false
				for _, service := range selected {
					waits := slices.ContainsFunc(service.After, func(name string) bool { return inBox[name] && !ready[name] })
					if !ready[service.Name] && !waits {
						ready[service.Name], changed = true, true
					}
				}
			}
			for _, service := range selected {
				if !ready[service.Name] {
					t.Errorf("%s, %s: %s would wait forever", compute, start, service.Name)
				}
			}
		}
	}
}

// TestServicesWaitForTheDatabase checks the order of later starts, in which the jobs of a first start do not run.
func TestServicesWaitForTheDatabase(t *testing.T) {
	without := []string{"bird", "dnsmasq", "mariadb", "rabbitmq", "volumes", "virtlogd", "libvirtd"}
	for compute := range computes {
		for start, conditions := range starts {
			after := map[string][]string{}
			for _, service := range selectServices(services(compute), conditions) {
				after[service.Name] = service.After
			}
			var waits func(name string) bool
			waits = func(name string) bool { return name == "mariadb" || slices.ContainsFunc(after[name], waits) }
			for name := range after {
				if !waits(name) && !slices.Contains(append(without, "mariadb-install"), name) {
					t.Errorf("%s, %s: %s does not wait for mariadb", compute, start, name)
				}
			}
		}
	}
}

func TestServicesCommands(t *testing.T) {
	for compute := range computes {
		for _, service := range services(compute) {
			lines := strings.Split(strings.TrimSpace(service.Command), "\n")
			if last := strings.TrimSpace(lines[len(lines)-1]); !service.Job && !strings.HasPrefix(last, "exec ") {
				t.Errorf("%s: the last line must be an exec, got %s", service.Name, last)
			}
			if address, err := url.Parse(service.Ready); err != nil ||
				!slices.Contains([]string{"", "tcp", "unix", "http"}, address.Scheme) {
				t.Errorf("%s: Ready must be a tcp, unix or http address, got %q", service.Name, service.Ready)
			}
			for _, path := range regexp.MustCompile(`/etc/\S+\.\w+`).FindAllString(service.Command, -1) {
				if _, err := fs.Stat(configs, path[1:]); err != nil {
					t.Errorf("%s: %v", service.Name, err)
				}
			}
			for _, path := range regexp.MustCompile(`/opt/devcloud/\S+`).FindAllString(service.Command, -1) {
				if _, err := fs.Stat(drivers, strings.TrimPrefix(path, "/opt/devcloud/")); err != nil {
					t.Errorf("%s: %v", service.Name, err)
				}
			}
		}
	}
}

func TestReportingServicesExist(t *testing.T) {
	for compute := range computes {
		for _, name := range reporting {
			if !slices.ContainsFunc(services(compute), func(s Service) bool { return s.Name == name }) {
				t.Errorf("%s: up would wait for %s, which is not a service", compute, name)
			}
		}
	}
}

// TestConfigurationsAgree checks passwords and names, because a wrong one fails late and with an unclear error.
func TestConfigurationsAgree(t *testing.T) {
	passwords := regexp.MustCompile(`(?m)^(?:password|metadata_proxy_shared_secret) = (.*)$|//openstack:([^@]*)@`)
	databases, err := fs.ReadFile(configs, "etc/devcloud/databases.sql")
	if err != nil {
		t.Fatal(err)
	}
	err = fs.WalkDir(configs, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := fs.ReadFile(configs, path)
		for _, found := range passwords.FindAllStringSubmatch(string(content), -1) {
			if found[1]+found[2] != password {
				t.Errorf("%s: %s", path, found[0])
			}
		}
		for _, found := range regexp.MustCompile(`@localhost/(\w+)\?`).FindAllStringSubmatch(string(content), -1) {
			if !strings.Contains(string(databases), "CREATE DATABASE "+found[1]+";") {
				t.Errorf("%s: database %s does not exist", path, found[1])
			}
		}
		for _, found := range regexp.MustCompile(`(?m)^username = (.*)$`).FindAllStringSubmatch(string(content), -1) {
			if !slices.Contains(serviceUsers, found[1]) {
				t.Errorf("%s: user %s does not exist", path, found[1])
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestPorts(t *testing.T) {
	if got := ports(); !slices.Equal(got, []int{3128, 5000, 8080, 8774, 8776, 8778, 9292, 9696}) {
		t.Error(got)
	}
}
