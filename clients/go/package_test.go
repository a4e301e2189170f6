package agentruntime

import (
	"archive/zip"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const module, version = "github.com/agent-runtime/agent-runtime/clients/go", "v0.1.0"

// What the first program is given, and what it prints of it. That it prints what those of the other languages do, and the
// server says, clients/first compares.
const (
	firstScript = `[{"say": "I look."}, {"run": "echo 1 > one.txt"}]`
	firstEnd    = "assistant_text: I look.\ntool_use: Bash\ntool_result: \nfile: one.txt\n"
)

// A proxy has the module as its release will be, and an empty module gets it from there by its path.
func TestTheModuleIsGotByItsPath(t *testing.T) {
	t.Parallel()
	proxy, cache, folder := t.TempDir(), t.TempDir(), t.TempDir()
	release(t, proxy)
	inherited := goEnv(t, "GOMODCACHE", "GOPROXY", "GONOSUMDB")
	environment := append(os.Environ(), "GO111MODULE=on", "GOFLAGS=-trimpath -modcacherw", "GOWORK=off", "GOMODCACHE="+cache,
		// What the tests were built of is at hand already; the rest comes from where it always comes from.
		"GOPROXY=file://"+proxy+",file://"+inherited[0]+"/cache/download,"+inherited[1],
		// Nobody has published this release yet.
		"GONOSUMDB="+strings.Trim(inherited[2]+","+module, ","))
	try := func(name string, args ...string) (string, error) {
		command := exec.Command(name, args...)
		command.Dir, command.Env = folder, append(environment, "ADDR="+shared.addr, "KEY="+shared.key(), "SCRIPT="+firstScript)
		command.Stderr = t.Output()
		said, err := command.Output()
		return string(said), err
	}
	run := func(name string, args ...string) string {
		t.Helper()
		said, err := try(name, args...)
		must(t, err)
		return said
	}
	program, err := os.ReadFile("examples/first/main.go")
	must(t, err)
	must(t, os.WriteFile(filepath.Join(folder, "main.go"), program, 0o600))
	run("go", "mod", "init", "example.com/first")
	// What these sums are of needs no leave of the checksum database, which is in the network.
	sums, err := os.ReadFile("go.sum")
	must(t, err)
	must(t, os.WriteFile(filepath.Join(folder, "go.sum"), sums, 0o600))
	// What does come over the network fails now and then.
	for range 2 {
		if _, err = try("go", "get", module+"@"+version); err == nil {
			break
		}
		time.Sleep(5 * time.Second)
	}
	run("go", "get", module+"@"+version)
	run("go", "mod", "verify")
	run("go", "build", "-o", "first", ".")
	if said := run(filepath.Join(folder, "first")); !strings.HasPrefix(said, "answer: ") || !strings.HasSuffix(said, firstEnd) {
		t.Errorf("the first program prints %q", said)
	}
	if dir := strings.TrimSpace(run("go", "list", "-m", "-f", "{{.Dir}}", module)); !strings.HasPrefix(dir, cache) {
		t.Errorf("it was built of what lies in %s", dir)
	}
}

// release puts the module into a proxy's folder, as `go help goproxy` says where.
func release(t *testing.T, proxy string) {
	t.Helper()
	folder := filepath.Join(proxy, filepath.FromSlash(module), "@v")
	must(t, os.MkdirAll(folder, 0o700))
	put := func(name string, data []byte) {
		must(t, os.WriteFile(filepath.Join(folder, name), data, 0o600))
	}
	mod, err := os.ReadFile("go.mod")
	must(t, err)
	put("list", []byte(version+"\n"))
	put(version+".info", []byte(`{"Version":"`+version+`"}`))
	put(version+".mod", mod)
	file, err := os.Create(filepath.Join(folder, version+".zip"))
	must(t, err)
	defer file.Close()
	archive := zip.NewWriter(file)
	must(t, filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		return store(archive, path, filepath.ToSlash(path))
	}))
	// The go command gives a module in a folder its repository's license.
	must(t, store(archive, "../../LICENSE", "LICENSE"))
	must(t, archive.Close())
}

func store(archive *zip.Writer, path, name string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	entry, err := archive.Create(module + "@" + version + "/" + name)
	if err != nil {
		return err
	}
	_, err = entry.Write(data)
	return err
}

func goEnv(t *testing.T, names ...string) []string {
	t.Helper()
	said, err := exec.Command("go", append([]string{"env"}, names...)...).Output()
	must(t, err)
	return strings.Split(strings.TrimSuffix(string(said), "\n"), "\n")
}

func TestTheReadmeShowsTheFirstProgram(t *testing.T) {
	t.Parallel()
	program, err := os.ReadFile("examples/first/main.go")
	must(t, err)
	readme, err := os.ReadFile("README.md")
	must(t, err)
	_, body, _ := strings.Cut(string(program), "func main() {\n")
	body, _, _ = strings.Cut(body, "\n}\n")
	if !strings.Contains(string(readme), body) || strings.Count(body, "\n") >= 20 {
		t.Error("the README does not show the first program, or it is not short")
	}
}
