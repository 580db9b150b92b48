	.section .text
	.type dead,@function
dead:
	.byte 0x18,0,0,0,1,0,0,0
	.size dead, 8
	.globl main
	.type main,@function
main:
	r0 = 7
	exit
	.size main, 16
