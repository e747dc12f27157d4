// SPDX-License-Identifier: MIT

// The peer of ws_recv: Go's gorilla/websocket (Debian: golang-github-gorilla-websocket-dev).
// ws_gorilla PORT MESSAGES BATCH.
package main

import (
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/gorilla/websocket"
)

func main() {
	wanted, err := strconv.Atoi(os.Args[2])
	if err != nil {
		os.Exit(2)
	}
	dialer := websocket.Dialer{ReadBufferSize: 65536}
	conn, _, err := dialer.Dial("ws://127.0.0.1:"+os.Args[1]+"/"+os.Args[2]+"/"+os.Args[3], nil)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	start, sum := time.Now(), 0
	for n := 0; n < wanted; n++ {
		_, message, err := conn.ReadMessage()
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		sum += int(message[len(message)-2] - '0')
	}
	fmt.Printf("RESULT msgs_s=%.0f sum=%d\n", float64(wanted)/time.Since(start).Seconds(), sum)
}
