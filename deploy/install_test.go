package deploy

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

func read(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// The image cannot be built where nothing can be pulled, so its file is looked at instead.
func TestContainerFile(t *testing.T) {
	t.Parallel()
	text := read(t, "container/Containerfile")
	_, last, found := strings.Cut(text, "FROM scratch\n")
	if !found {
		t.Fatal("the last stage is not empty at its beginning")
	}
	for _, want := range []string{"USER 65532:65532\n", `ENTRYPOINT ["/penstock"]`, "COPY --from=build /out/penstock /penstock\n", "ca-certificates.crt", `CMD ["/penstock", "status"]`} {
		if !strings.Contains(last, want) {
			t.Errorf("no %s", want)
		}
	}
	if !strings.Contains(text, "CGO_ENABLED=0") || strings.Contains(last, "RUN ") {
		t.Error("the binary must be static: there is nothing beside it, not even a shell")
	}
	if m := regexp.MustCompile(`(?i)(_KEY|SECRET|TOKEN|PASSWORD)\s*=`).FindString(text); m != "" {
		t.Errorf("a secret in the file: %s", m)
	}
}

// The real binary runs as the container file has it run: alone in a root file system that is read-only, not as root.
func TestReadOnlyRoot(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		leaveOut(t, "a root of one's own needs root")
	}
	unshare := tool(t, "unshare")
	bin, root := binary(t), t.TempDir()
	for _, dir := range []string{"var/lib/penstock", "etc"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(bin)
	if err != nil {
		t.Fatal(err)
	}
	config := "admin: { listen: \"127.0.0.1:0\" }\nproviders:\n  a: { dialect: openai, base_url: \"http://127.0.0.1:1/v1\" }\n"
	if err := errors.Join(os.Chmod(root, 0o755), os.WriteFile(filepath.Join(root, "penstock"), b, 0o755), os.WriteFile(filepath.Join(root, "etc/penstock.yaml"), []byte(config), 0o644)); err != nil {
		t.Fatal(err)
	}
	const script = `set -e; cd "$1"; mount --bind . .; mount -t tmpfs -o uid=65532,gid=65532,mode=700 none var/lib/penstock
		mount -o remount,ro,bind "$1"; ! touch "$1/x" 2>/dev/null
		exec chroot --userspec=65532:65532 "$1" /penstock serve --json --listen 127.0.0.1:0 --data /var/lib/penstock -c /etc/penstock.yaml`
	l := start(t, root, unshare, "-m", "sh", "-c", script, "sh", root)
	if status, body := call(t, "GET", "http://"+l.Data+"/readyz", "", ""); status != 200 {
		t.Errorf("%d %s", status, body)
	}
}

func TestSystemdUnit(t *testing.T) {
	t.Parallel()
	analyze := tool(t, "systemd-analyze")
	unit := filepath.Join(t.TempDir(), "penstock.service")
	text := strings.Replace(read(t, "systemd/penstock.service"), "/usr/bin/penstock", binary(t), 1)
	if err := os.WriteFile(unit, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := run(t, ".", analyze, "verify", "--man=no", unit); strings.Contains(out, "penstock.service") {
		t.Errorf("%s", out)
	}
	run(t, ".", analyze, "security", "--offline=true", "--threshold=15", unit) // 1.5 of 10
}

// documents reads a YAML file.
func documents(t *testing.T, file string) []object {
	t.Helper()
	d := yaml.NewDecoder(bytes.NewReader([]byte(read(t, file))), yaml.Strict())
	var all []object
	for {
		var one object
		err := d.Decode(&one)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		all = append(all, one)
	}
}

// The manifests are plain, so that nothing renders them; what they must not lose is looked for.
func TestKubernetesManifests(t *testing.T) {
	t.Parallel()
	kinds := map[string]int{}
	for _, d := range documents(t, "kubernetes/penstock.yaml") {
		kind, _ := d["kind"].(string)
		meta, _ := d["metadata"].(object)
		if kind == "" || d["apiVersion"] == nil || meta["name"] == nil {
			t.Errorf("not a manifest: %v", d)
		}
		kinds[kind]++
		if d["kind"] == "Secret" {
			t.Error("a secret in the file; refer to one")
		}
		if kind == "ConfigMap" {
			data, _ := d["data"].(object)
			text, _ := data["penstock.yaml"].(string)
			check(t, text)
		}
	}
	for _, want := range []string{"StatefulSet", "Service", "PodDisruptionBudget", "NetworkPolicy", "ConfigMap"} {
		if kinds[want] == 0 {
			t.Errorf("no %s", want)
		}
	}
	text := read(t, "kubernetes/penstock.yaml")
	for _, want := range []string{"readOnlyRootFilesystem: true", "runAsNonRoot: true", "allowPrivilegeEscalation: false", "drop: [ALL]", "path: /readyz", "path: /healthz", "secretName: "} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s", want)
		}
	}
}

// check has the program itself look at a configuration.
func check(t *testing.T, text string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "penstock.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, dir, binary(t), "config", "check", "-c", "penstock.yaml")
}

func TestComposeFile(t *testing.T) {
	t.Parallel()
	all := documents(t, "container/compose.yaml")
	services, _ := all[0]["services"].(object)
	penstock, _ := services["penstock"].(object)
	if penstock["read_only"] != true || penstock["cap_drop"] == nil || penstock["healthcheck"] == nil || penstock["secrets"] == nil {
		t.Errorf("%v", penstock)
	}
	check(t, read(t, "container/penstock.yaml"))
}
