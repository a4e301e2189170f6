// First creates a session, asks, streams blocks and lists files.
package main

import (
	"context"
	"fmt"
	"log"
	"os"

	agentruntime "github.com/agent-runtime/agent-runtime/clients/go"
	v1 "github.com/agent-runtime/agent-runtime/clients/go/agentruntimev1"
)

func main() {
	ctx := context.Background()
	client := must(agentruntime.Dial(os.Getenv("ADDR"), agentruntime.Options{Key: os.Getenv("KEY")}))
	id := must(client.CreateSession(ctx, &v1.CreateSessionRequest{Agent: "scripted"})).GetSession().GetSessionId()
	fmt.Println("answer:", must(client.Ask(ctx, id, "hello")))

	for block, err := range client.Run(ctx, id, os.Getenv("SCRIPT")) {
		if must(block, err).GetState() == v1.BlockState_BLOCK_STATE_COMPLETE {
			fmt.Printf("%s: %s\n", agentruntime.Kind(block), agentruntime.Words(block))
		}
	}
	for page, err := range agentruntime.Pages(ctx, client.ListFiles, &v1.ListFilesRequest{SessionId: id}) {
		for _, file := range must(page, err).GetFiles() {
			fmt.Println("file:", file.GetPath())
		}
	}
}

func must[T any](value T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return value
}
