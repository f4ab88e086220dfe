; Enters 64-bit mode, takes and returns from an invalid-opcode exception, then writes 0x10 to port 0xf4.
; Loaded as firmware: linear address 0xF0000 + offset. Assemble: nasm -f bin
        bits 16
        org 0
start:  cli
        mov ax, cs
        mov ds, ax
        o32 lgdt [gdtr]
        xor ax, ax
        mov es, ax
        mov di, 0x1000
        mov cx, 0x2000
        rep stosw                       ; page tables and IDT: 0x1000-0x4fff
        mov dword [es:0x1000], 0x2003   ; PML4[0] -> PDPT
        mov dword [es:0x2000], 0x3003   ; PDPT[0] -> PD
        mov dword [es:0x3000], 0x0083   ; PD[0]: 2 MiB, identity
        mov eax, cr4
        or eax, 0x20                    ; PAE
        mov cr4, eax
        mov eax, 0x1000
        mov cr3, eax
        mov ecx, 0xC0000080             ; EFER
        rdmsr
        or eax, 0x100                   ; LME
        wrmsr
        mov eax, cr0
        or eax, 0x80000001              ; PG, PE
        mov cr0, eax
        jmp dword 0x08:0xF0000 + code64
        bits 64
code64:   mov eax, 0x10
        mov ds, eax
        mov ss, eax
        mov esp, 0x8000
        mov eax, 0xF0000 + handler
        mov edi, 0x4000 + 6 * 16        ; IDT[6]: invalid opcode
        mov [rdi], ax
        mov dword [rdi + 2], 0x8E000008 ; selector 0x08, interrupt gate
        shr eax, 16
        mov [rdi + 6], ax
        lidt [0xF0000 + idtr]
        ud2
        mov al, 0x10
        out 0xf4, al
halt:   hlt
        jmp halt
handler:
        add qword [rsp], 2
        iretq
        align 8
gdt:    dq 0, 0x00AF9A000000FFFF, 0x00CF92000000FFFF
gdtr:   dw 23
        dd 0xF0000 + gdt
idtr:   dw 0xfff
        dq 0x4000
