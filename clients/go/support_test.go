package agentruntime

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// shared is the server of all tests that do not break it.
var shared *server

func TestMain(m *testing.M) {
	data, err := os.MkdirTemp("", "art")
	if err == nil {
		shared, err = start(data)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "no server to test with:", err)
		os.Exit(1)
	}
	code := m.Run()
	shared.end()
	os.RemoveAll(data)
	os.Exit(code)
}

// server is a real server's process, with a data folder that outlives it.
type server struct {
	data, addr string
	options    []string
	process    *exec.Cmd
}

func start(data string, options ...string) (*server, error) {
	s := &server{data: data, addr: "127.0.0.1:0", options: options}
	return s, s.start()
}

// own is a server that a test may kill.
func own(t *testing.T, options ...string) *server {
	t.Helper()
	s, err := start(t.TempDir(), options...)
	must(t, err)
	t.Cleanup(s.end)
	return s
}

// start starts it, again on the same port. While it was dead somebody may have got that, for a connection to elsewhere: then it
// is tried again until it is free.
func (s *server) start() error {
	again := !strings.HasSuffix(s.addr, ":0")
	for began := time.Now(); ; {
		if err := s.launch(); err == nil || !again || time.Since(began) > patience {
			return err
		}
	}
}

func (s *server) launch() error {
	program := os.Getenv("SERVER_UNDER_TEST")
	if program == "" {
		target := os.Getenv("CARGO_TARGET_DIR")
		if target == "" {
			target = "../../target"
		}
		program = filepath.Join(target, "debug", "agent-runtime")
	}
	s.process = exec.Command(program, append([]string{"serve", "--listen", s.addr, "--data", s.data}, s.options...)...)
	s.process.Env = append(os.Environ(), "AGENT_RUNTIME_ON_SHUTDOWN=stop", "RUST_LOG=error")
	s.process.Stderr = os.Stderr
	said, err := s.process.StdoutPipe()
	if err != nil {
		return err
	}
	if err := s.process.Start(); err != nil {
		return err
	}
	for lines := bufio.NewScanner(said); lines.Scan(); {
		if addr, ok := strings.CutPrefix(lines.Text(), "listening on "); ok {
			s.addr = strings.TrimSpace(addr)
			return nil
		}
	}
	s.process.Wait()
	return fmt.Errorf("%s did not say where it listens", program)
}

func (s *server) key() string {
	key, err := os.ReadFile(filepath.Join(s.data, "key"))
	if err != nil {
		panic(err)
	}
	return string(key)
}

// kill ends it as a crash would.
func (s *server) kill() {
	s.signal(syscall.SIGKILL)
	s.process.Wait()
}

func (s *server) signal(signal syscall.Signal) { s.process.Process.Signal(signal) }

// standStill stops all of its threads, until it gets SIGCONT.
func (s *server) standStill(t *testing.T) {
	t.Helper()
	s.signal(syscall.SIGSTOP)
	_, err := syscall.Wait4(s.process.Process.Pid, nil, syscall.WUNTRACED, nil)
	must(t, err)
}

// end ends it politely, with its agents.
func (s *server) end() {
	if s.process.ProcessState == nil {
		s.signal(syscall.SIGTERM)
		s.process.Wait()
	}
}

func (s *server) client(t *testing.T) *Client {
	t.Helper()
	return dial(t, s.addr, Options{Key: s.key()})
}

func dial(t *testing.T, addr string, options Options) *Client {
	t.Helper()
	client, err := Dial(addr, options)
	must(t, err)
	t.Cleanup(func() { client.Close() })
	return client
}

// proxy is a connection to a server that can be cut, and whose answers can be lost.
type proxy struct {
	addr         string
	losesAnswers atomic.Bool
	// answered counts bytes that came from the server, silenced the connections that had been silent for too long.
	answered, silenced, accepted atomic.Int64
	// refuses is how many more connections end as soon as they are made.
	refuses atomic.Int64

	patience time.Duration
	forgets  bool
	mutex    sync.Mutex
	open     []net.Conn
}

func proxied(t *testing.T, s *server) *proxy {
	t.Helper()
	return impatient(t, s, time.Hour, false)
}

// impatient is a proxy that has enough of a connection over which nothing went for so long, either way: it cuts it, or just
// forgets it, so that nothing more arrives and nobody is told.
func impatient(t *testing.T, s *server, patience time.Duration, forgets bool) *proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	p := &proxy{addr: listener.Addr().String(), patience: patience, forgets: forgets}
	behind := s.addr
	t.Cleanup(func() { listener.Close(); p.cut() })
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			if p.refuses.Load() > 0 {
				p.refuses.Add(-1)
				client.Close()
				continue
			}
			upstream, err := net.Dial("tcp", behind)
			if err != nil {
				client.Close()
				continue
			}
			p.accepted.Add(1)
			p.mutex.Lock()
			p.open = append(p.open, client, upstream)
			p.mutex.Unlock()
			var forgotten atomic.Bool
			silence := time.AfterFunc(p.patience, func() {
				p.silenced.Add(1)
				if forgotten.Store(true); !p.forgets {
					client.Close()
					upstream.Close()
				}
			})
			go p.copy(upstream, client, false, silence, &forgotten)
			go p.copy(client, upstream, true, silence, &forgotten)
		}
	}()
	return p
}

func (p *proxy) copy(to, from net.Conn, answers bool, silence *time.Timer, forgotten *atomic.Bool) {
	defer to.Close()
	defer from.Close()
	defer silence.Stop()
	data := make([]byte, 65536)
	for {
		n, err := from.Read(data)
		if answers {
			p.answered.Add(int64(n))
		}
		if n > 0 && !forgotten.Load() {
			silence.Reset(p.patience)
			if !answers || !p.losesAnswers.Load() {
				if _, err := to.Write(data[:n]); err != nil {
					return
				}
			}
		}
		if err != nil {
			return
		}
	}
}

// cut ends all connections; new ones are taken.
func (p *proxy) cut() {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	for _, conn := range p.open {
		conn.Close()
	}
	p.open = nil
}

type step map[string]any

// script is a message that the scripted agent plays.
func script(steps ...step) string {
	text, err := json.Marshal(steps)
	if err != nil {
		panic(err)
	}
	return string(text)
}

// long is 400 deltas in two seconds, each a number of 19 digits and a space.
var long = script(step{"count": 400, "size": 20, "pace_ms": 5})

// endless is a turn that no test waits for: it goes on until it is stopped.
var endless = script(step{"count": 200_000, "size": 20, "pace_ms": 5})

func numbers(last int) string {
	var text strings.Builder
	for n := 1; n <= last; n++ {
		fmt.Fprintf(&text, "%019d ", n)
	}
	return text.String()
}

func within(t *testing.T, limit time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	t.Cleanup(cancel)
	return ctx
}
