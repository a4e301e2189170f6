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
	client := must(agentruntime.Dial(os.Getenv("ADDR"), agentruntime.WithKey(os.Getenv("KEY"))))
	id := must(client.CreateSession(ctx, &v1.CreateSessionRequest{Agent: "scripted"})).GetSession().GetSessionId()
	fmt.Println(must(client.Ask(ctx, id, "hello")))

	for block, err := range client.Run(ctx, id, `[{"say": "I look."}, {"run": "echo 1 > one.txt"}]`) {
		if must(block, err).GetState() == v1.BlockState_BLOCK_STATE_COMPLETE {
			fmt.Printf("%T %s\n", block.GetContent(), block.GetBlockId())
		}
	}
	for file, err := range client.Files(ctx, &v1.ListFilesRequest{SessionId: id}) {
		fmt.Println(must(file, err).GetPath(), file.GetSizeBytes())
	}
}

func must[T any](value T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return value
}
