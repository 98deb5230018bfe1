package selinux

import (
	"cmp"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
)

// only has the one program of each domain of container-selinux. Another program in such a domain has a wrong label.
var only = map[string]string{
	"kubelet_t":           "/usr/local/bin/kubelet",
	"container_runtime_t": "/usr/local/bin/containerd",
}

// readers are the domains of the distribution's services that read files in these folders.
var readers = map[string]string{
	"/etc/NetworkManager/": "NetworkManager_t",
	"/etc/modules-load.d/": "systemd_modules_load_t",
	"/etc/profile.d/":      "unconfined_t",
	"/etc/sysctl.d/":       "systemd_sysctl_t",
	"/etc/systemd/system/": "init_t",
	"/etc/tmpfiles.d/":     "systemd_tmpfiles_t",
}

const units = "/etc/systemd/system/"

// judge collects the denials of a machine.
type judge struct {
	policy
	files   map[string]string // path → content
	denials map[Denial]bool
	// unit is the name of the unit, and booleans are those that it sets, with true for those that an access needs.
	unit     string
	booleans map[string]bool
	// waits reports whether the unit waits until container-selinux is installed.
	waits bool
}

// Machine judges a machine's units, the files that they use, and its static pods. files maps paths to contents.
func Machine(files map[string]string) []Denial {
	j := &judge{policy: loaded(), files: files, denials: map[Denial]bool{}}
	for name, text := range files {
		j.unit, j.booleans = "cloud-init", nil
		if _, err := j.label(name, "file"); err != nil {
			j.deny(name, err)
		}
		for folder, domain := range readers {
			if strings.HasPrefix(name, folder) {
				j.unit = domain
				j.access(domain, name, "file", "read", "open")
			}
		}
		switch {
		case strings.HasPrefix(name, "/etc/tmpfiles.d/"):
			j.temporaryFiles(text)
		case strings.HasPrefix(name, units) && strings.HasSuffix(name, ".service"):
			j.service(path.Base(name), text)
		case strings.HasPrefix(name, "/etc/kubernetes/manifests/"):
			pods, err := Pods(text)
			if err != nil {
				j.deny(name, err)
			}
			for _, d := range pods {
				j.denials[d] = true
			}
		}
	}
	j.unit, j.booleans, j.waits = "first-boot.service", nil, false // cloud-init starts it: sh first-boot UNIT...
	j.command("init_t", resolve("/bin/sh"), nil, false)
	return sorted(slices.Collect(maps.Keys(j.denials)))
}

func sorted(denials []Denial) []Denial {
	return slices.SortedFunc(slices.Values(denials), func(a, b Denial) int { return cmp.Compare(a.String(), b.String()) })
}

func (j *judge) deny(path string, err error) { j.denials[Denial{j.unit, path, err.Error()}] = true }

// access judges the permissions of a domain on a path, and on the folders above it. It reports whether all are allowed.
func (j *judge) access(domain, file, class string, permissions ...string) bool {
	err := j.allowed(domain, file, class, permissions...)
	if err != nil {
		j.deny(file, err)
	}
	return err == nil
}

func (j *judge) allowed(domain, file, class string, permissions ...string) error {
	if j.unconfined(domain) {
		return nil
	}
	typeName, err := j.typeOf(file, class)
	if err == nil {
		err = j.check(domain, typeName, class, j.booleans, permissions...)
	}
	for folder := path.Dir(file); err == nil && folder != "/"; folder = path.Dir(folder) {
		if typeName, err = j.typeOf(folder, "dir"); err == nil {
			err = j.check(domain, typeName, "dir", j.booleans, "search")
		}
	}
	return err
}

// create judges the creation of a file or folder in an existing folder. A labelled one gets its type from
// file_contexts, because systemd sets it. Another one gets the type of its folder, or that of a transition.
func (j *judge) create(domain, file, class string, labelled bool) (typeName string, ok bool) {
	folder := path.Dir(file)
	err := j.allowed(domain, folder, "dir", "write", "add_name")
	if err != nil {
		j.deny(file, err)
		return "", false
	}
	if labelled {
		typeName, err = j.typeOf(file, class)
	} else if typeName, err = j.typeOf(folder, "dir"); err == nil {
		var other string
		if other, err = j.transition(domain, class, typeName); other != "-" {
			typeName = other
		}
	}
	if err == nil {
		err = j.check(domain, typeName, class, j.booleans, "create")
	}
	if err != nil {
		j.deny(file, err)
	}
	return typeName, err == nil
}

const (
	copiedRoot = "/opt/calico/node"
	imageType  = "container_file_t"
)

var relabels = regexp.MustCompile(`\brestorecon((?: -[A-Za-z]+)+)((?: "?[/$][^\s;"]*"?)+)`)

// typeOf returns the type of a file or folder of the machine.
func (j *judge) typeOf(file, class string) (string, error) {
	// calico-image copies this tree out of an image. A copy with all attributes keeps its type. restorecon does not
	// change this type unless it is forced.
	if file == copiedRoot || strings.HasPrefix(file, copiedRoot+"/") {
		script := j.files["/usr/local/sbin/calico-image"]
		forced := false
		for _, m := range relabels.FindAllStringSubmatch(script, -1) {
			forced = forced || strings.Contains(m[1], "F") && strings.Contains(m[1], "R") &&
				slices.Contains(strings.Fields(m[2]), "/opt/calico")
		}
		if !forced {
			return imageType, nil
		}
	}
	// mv keeps the type of the folder of downloads
	if j.downloaded(file) && !strings.Contains(j.files["/usr/local/sbin/install-artifacts"], `restorecon "$2"`) {
		return "var_t", nil
	}
	if class != "dir" {
		class = "file"
	}
	return j.label(file, class)
}

// downloaded reports whether install-artifacts installs the file.
func (j *judge) downloaded(file string) bool {
	for line := range strings.Lines(j.files["/etc/artifacts.list"]) {
		fields := strings.Fields(line)
		if len(fields) < 4 {
			continue
		}
		names := fields[4:]
		if len(names) == 0 {
			names = fields[:1]
		}
		for _, name := range names {
			if path.Join(fields[3], path.Base(name)) == file {
				return true
			}
		}
	}
	return false
}

// temporaryFiles judges a file of systemd-tmpfiles, which runs in its own domain at boot.
func (j *judge) temporaryFiles(text string) {
	const domain = "systemd_tmpfiles_t"
	j.unit = domain
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		switch file := fields[1]; fields[0] {
		case "d":
			j.create(domain, file, "dir", true)
		case "f":
			j.create(domain, file, "file", true)
		case "r", "r!":
			j.access(domain, path.Dir(file), "dir", "write", "remove_name")
			j.access(domain, file, "file", "unlink")
		default:
			j.deny(file, fmt.Errorf("unknown type of systemd-tmpfiles: %s", fields[0]))
		}
	}
}

// settings returns the values of a unit by their keys, in order.
func settings(unit string) map[string][]string {
	all := map[string][]string{}
	for line := range strings.Lines(strings.ReplaceAll(unit, "\\\n", "")) {
		if key, value, found := strings.Cut(strings.TrimSuffix(line, "\n"), "="); found {
			all[key] = append(all[key], value)
		}
	}
	return all
}

var setsBoolean = regexp.MustCompile(`\bsetsebool (?:-P )?(\w+)[= ](?:1|on|true)\b`)

// service judges a service: systemd's own accesses, and each command.
func (j *judge) service(name, text string) {
	const systemd = "init_t"
	all := settings(text)
	j.unit, j.booleans = name, map[string]bool{}
	for _, command := range all["ExecStartPre"] {
		for _, m := range setsBoolean.FindAllStringSubmatch(command, -1) {
			j.booleans[m[1]] = false
		}
	}
	j.waits = slices.ContainsFunc(all["ExecStartPre"], func(command string) bool {
		words := strings.Fields(command)
		return words[0] == "/usr/local/sbin/wait-for-unit" && slices.Contains(words[1:], "os-packages.service")
	})
	for _, file := range all["EnvironmentFile"] {
		j.access(systemd, strings.TrimPrefix(file, "-"), "file", "read", "open")
	}
	for key, folder := range map[string]string{"RuntimeDirectory": "/run", "StateDirectory": "/var/lib",
		"CacheDirectory": "/var/cache", "LogsDirectory": "/var/log", "ConfigurationDirectory": "/etc"} {
		for _, value := range all[key] {
			for _, name := range strings.Fields(value) {
				j.create(systemd, path.Join(folder, name), "dir", true)
			}
		}
	}
	root := ""
	if len(all["RootDirectory"]) > 0 {
		root = all["RootDirectory"][0]
		j.mounts(root, slices.Concat(all["BindPaths"], all["BindReadOnlyPaths"]))
	}
	onlyStart := slices.Contains(all["RootDirectoryStartOnly"], "yes")
	noNewPrivileges := slices.Contains(all["NoNewPrivileges"], "yes") || slices.Contains(all["DynamicUser"], "yes")
	for _, key := range []string{"ExecCondition", "ExecStartPre", "ExecStart", "ExecStartPost", "ExecReload", "ExecStop",
		"ExecStopPost"} {
		for _, command := range all[key] {
			line := strings.TrimLeft(command, "-@:+!")
			prefixes := command[:len(command)-len(line)]
			words := strings.Fields(line)
			program := words[0]
			if root != "" && (key == "ExecStart" || !onlyStart) && !strings.Contains(prefixes, "+") {
				program = root + program
			} else {
				program = resolve(program)
			}
			j.command(systemd, program, words[1:], noNewPrivileges && !strings.Contains(prefixes, "+"))
		}
	}
	for boolean, used := range j.booleans {
		if !used {
			j.deny("setsebool "+boolean, fmt.Errorf("no access needs this boolean"))
		}
	}
}

// made matches the folders that calico-image adds to the tree.
var made = regexp.MustCompile(`\bmkdir -p "\$root\.part(/[^"]+)"`)

// mounts judges the mount points in the root directory of a unit. systemd creates those that are missing, with their
// parent folders.
func (j *judge) mounts(root string, binds []string) {
	if typeName, _ := j.typeOf(root, "dir"); typeName == imageType {
		return // its programs are denied
	}
	exists := map[string]bool{}
	for _, folder := range []string{"/dev", "/etc", "/proc", "/run", "/sys", "/usr/lib", "/var/lib", "/var/run"} {
		exists[folder] = true // in the image
	}
	for _, m := range made.FindAllStringSubmatch(j.files["/usr/local/sbin/calico-image"], -1) {
		exists[m[1]] = true
	}
	for bind := range strings.FieldsSeq(strings.Join(binds, " ")) {
		source, target, found := strings.Cut(strings.TrimPrefix(bind, "-"), ":")
		if !found {
			target = source
		}
		class := "dir"
		if slices.Contains([]string{".conf", ".crt"}, path.Ext(source)) {
			class = "file"
		}
		target = resolve(target)
		if exists[target] {
			j.access("init_t", root+target, class, "mounton")
			continue
		}
		for folder := path.Dir(target); folder != "/" && !exists[folder]; folder = path.Dir(folder) {
			j.create("init_t", root+folder, "dir", false)
		}
		if typeName, ok := j.create("init_t", root+target, class, false); ok {
			if err := j.check("init_t", typeName, class, nil, "mounton"); err != nil {
				j.deny(root+target, err)
			}
		}
	}
}

// command judges a command that a process of a domain starts, and the accesses of the new process.
func (j *judge) command(by, program string, arguments []string, noNewPrivileges bool) {
	if !j.known(program) {
		j.deny(program, fmt.Errorf("no file, download or package contains this program"))
		return
	}
	typeName, err := j.typeOf(program, "file")
	if err != nil {
		j.deny(program, err)
		return
	}
	domain, err := j.becomes(by, typeName)
	if err != nil {
		j.deny(program, err)
		return
	}
	permissions := []string{"read", "open", "execute"}
	if domain == "-" {
		domain = by
		permissions = append(permissions, "execute_no_trans")
	}
	if !j.access(by, program, "file", permissions...) {
		return
	}
	if domain != by && noNewPrivileges {
		if err := j.check(by, domain, "process2", nil, "nnp_transition"); err != nil {
			j.deny(program, err)
		}
	}
	if wanted, exists := only[domain]; exists && wanted != program {
		j.deny(program, fmt.Errorf("runs in %s, which is for %s: its label is %s", domain, wanted, typeName))
	} else if exists && !j.waits {
		j.deny(program, fmt.Errorf("may start before container-selinux is installed, and then not in %s", domain))
	}
	if j.unconfined(domain) {
		return
	}
	if text, script := j.files[program]; script {
		j.script(domain, program, text, arguments)
		return
	}
	switch domain {
	case "haproxy_t":
		j.haproxy(domain, arguments)
	case "keepalived_t":
		j.keepalived(domain, arguments)
	default:
		j.deny(program, fmt.Errorf("runs in %s, which is confined: nothing is known about its accesses", domain))
	}
}

// known reports whether the machine has the program.
func (j *judge) known(program string) bool {
	_, written := j.files[program]
	return written || j.downloaded(program) || strings.HasPrefix(program, copiedRoot+"/") ||
		slices.Contains([]string{"/usr/bin", "/usr/sbin"}, path.Dir(program)) // of the distribution, by labels.csv
}

var (
	absolute = regexp.MustCompile(`^(?:-[a-z_-]+=|--[a-z_-]+=)?(/[^\s"']*)$`)
	hostPort = regexp.MustCompile(`(?:^|[^0-9])(?:[0-9]{1,3}\.){3}[0-9]{1,3}:([0-9]+)`)
)

// script judges a script of ours that runs in a confined domain: it may read each path, and connect to each port, that
// it or its arguments contain.
func (j *judge) script(domain, program, text string, arguments []string) {
	j.access(domain, "/usr/bin/bash", "file", "read", "open", "execute")
	for _, word := range append(strings.Fields(text), arguments...) {
		word = strings.Trim(word, `"'{}`)
		if m := absolute.FindStringSubmatch(word); m != nil && !strings.HasPrefix(m[1], "/dev/") {
			j.access(domain, m[1], "file", "read", "open")
		}
		for _, m := range hostPort.FindAllStringSubmatch(word, -1) {
			j.judgePort(domain, m[1], "name_connect")
		}
	}
}

func (j *judge) judgePort(domain, digits, permission string) {
	typeName, err := j.port(number(digits))
	if err == nil {
		err = j.check(domain, typeName, "tcp_socket", j.booleans, permission)
	}
	if err != nil {
		j.deny("port "+digits, err)
	}
}

// haproxy judges HAProxy's arguments and its configuration.
func (j *judge) haproxy(domain string, arguments []string) {
	found := false
	for i, argument := range arguments[:max(0, len(arguments)-1)] {
		if argument == "-f" {
			j.haproxyConfig(domain, arguments[i+1])
			found = true
		}
	}
	if !found {
		j.deny("haproxy", fmt.Errorf("no configuration in its arguments"))
	}
}

func (j *judge) haproxyConfig(domain, config string) {
	j.access(domain, config, "file", "read", "open")
	for line := range strings.Lines(j.files[config]) {
		words := strings.Fields(line)
		if len(words) < 2 {
			continue
		}
		if words[0] == "option" && words[1] == "httpchk" {
			continue // a path of HTTP
		}
		for i, word := range words {
			switch {
			case !strings.HasPrefix(word, "/"):
			case slices.Contains([]string{"ca-file", "crt", "crl-file", "crt-list"}, words[i-1]):
				j.access(domain, word, "file", "read", "open")
			default:
				j.deny(word, fmt.Errorf("unknown use of a path by HAProxy: %s", strings.TrimSpace(line)))
			}
		}
		permission := map[string]string{"bind": "name_bind", "server": "name_connect"}[words[0]]
		if permission == "" {
			continue
		}
		endpoint := words[map[string]int{"bind": 1, "server": 2}[words[0]]]
		if _, port, found := strings.Cut(endpoint, ":"); !found {
			j.deny(endpoint, fmt.Errorf("no port: %s", strings.TrimSpace(line)))
		} else {
			j.judgePort(domain, port, permission)
		}
	}
}

// keepalived judges keepalived's arguments, its configuration, and its scripts.
func (j *judge) keepalived(domain string, arguments []string) {
	for _, argument := range arguments {
		name, file, found := strings.Cut(argument, "=")
		switch {
		case !found:
		case name == "--use-file":
			j.keepalivedConfig(domain, file)
		case name == "--pid" || name == "--vrrp_pid":
			j.create(domain, file, "file", false)
		default:
			j.deny(file, fmt.Errorf("unknown argument of keepalived: %s", name))
		}
	}
}

func (j *judge) keepalivedConfig(domain, config string) {
	j.access(domain, config, "file", "read", "open")
	for line := range strings.Lines(j.files[config]) {
		words := strings.Fields(strings.ReplaceAll(line, `"`, " "))
		for i, word := range words {
			switch {
			case !strings.HasPrefix(word, "/") || i > 1:
			case words[0] == "include":
				j.access(domain, word, "file", "read", "open")
			case words[0] == "script":
				j.command(domain, word, words[2:], false)
			default:
				j.deny(word, fmt.Errorf("unknown use of a path by keepalived: %s", strings.TrimSpace(line)))
			}
		}
	}
}
