; A boot sector that prints LINES numbered lines of nine bytes on the first serial port as fast as it takes them:
; eight hexadecimal digits and a line feed. Then it halts. Assemble with -D LINES=number.
        bits 16
        org 0x7c00
start:  cli
        xor ax, ax
        mov ss, ax
        mov sp, 0x7c00
        xor ebx, ebx
line:   mov eax, ebx
        mov ecx, 8
digit:  rol eax, 4
        push eax
        and al, 15
        add al, '0'
        cmp al, '9'
        jbe print
        add al, 'a' - '9' - 1
print:  call put
        pop eax
        loop digit, ecx
        mov al, 10
        call put
        inc ebx
        cmp ebx, LINES
        jb line
rest:   hlt
        jmp rest
put:    mov ah, al
        mov dx, 0x3fd           ; line status: is the transmitter empty?
ready:  in al, dx
        test al, 0x20
        jz ready
        mov al, ah
        mov dx, 0x3f8
        out dx, al
        ret
        times 510 - ($ - $$) db 0
        dw 0xaa55
