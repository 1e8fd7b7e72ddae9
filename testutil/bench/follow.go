package main

import "context"

func followChild(context.Context, []byte, *speaker, <-chan string) error { return nil }
